-- Version 1 of a month's file. Times: day is the UTC day counted from 1970-01-01, first and last are nanoseconds since
-- that day began. Positions: sequence and ordinal.

CREATE TABLE names (
  id   INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE blocks (
  day           INTEGER NOT NULL,
  gateway       INTEGER NOT NULL, -- names.id
  first         INTEGER NOT NULL,
  from_sequence INTEGER NOT NULL,
  from_ordinal  INTEGER NOT NULL,
  to_sequence   INTEGER NOT NULL,
  to_ordinal    INTEGER NOT NULL,
  part          INTEGER NOT NULL,
  last          INTEGER NOT NULL,
  id            INTEGER NOT NULL, -- data.id
  PRIMARY KEY (day, gateway, first, from_sequence, from_ordinal, to_sequence, to_ordinal, part)
) STRICT, WITHOUT ROWID;

CREATE TABLE data (
  id   INTEGER PRIMARY KEY,
  data BLOB NOT NULL -- schema/block
) STRICT;

CREATE TABLE position (
  id       INTEGER PRIMARY KEY CHECK (id = 1),
  sequence INTEGER NOT NULL,
  ordinal  INTEGER NOT NULL
) STRICT;
