-- Version 2 of the catalog: what rollups of the same sensors begin with is kept once. rollups.data refers to it.

CREATE TABLE heads (
  id   INTEGER PRIMARY KEY,
  head BLOB NOT NULL UNIQUE -- what rollup.Head measures; never changed, never removed
) STRICT;
