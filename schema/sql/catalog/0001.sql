-- Version 1 of the catalog. Times are nanoseconds since 1970-01-01 UTC. Positions: sequence and ordinal.

CREATE TABLE names (
  id   INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE gateways (
  id       INTEGER PRIMARY KEY, -- names.id
  sequence INTEGER NOT NULL,
  ordinal  INTEGER NOT NULL,
  entry    BLOB, -- schema/catalog; NULL when empty
  tail     BLOB  -- schema/catalog; NULL when empty
) STRICT;

CREATE TABLE rollups (
  gateway           INTEGER NOT NULL, -- names.id
  span              INTEGER NOT NULL, -- 1 hour, 2 day
  start             INTEGER NOT NULL,
  computed_sequence INTEGER NOT NULL,
  computed_ordinal  INTEGER NOT NULL,
  stale_sequence    INTEGER NOT NULL,
  stale_ordinal     INTEGER NOT NULL,
  data              BLOB, -- schema/rollup; NULL where computed is zero
  PRIMARY KEY (gateway, span, start)
) STRICT, WITHOUT ROWID;

CREATE INDEX unrolled ON rollups (span, start, gateway)
  WHERE (computed_sequence, computed_ordinal) < (stale_sequence, stale_ordinal);

CREATE TABLE position (
  id       INTEGER PRIMARY KEY CHECK (id = 1),
  sequence INTEGER NOT NULL,
  ordinal  INTEGER NOT NULL
) STRICT;
