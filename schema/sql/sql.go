// Package sql is the shape of a keyspace in SQLite: the tables of a month's file and of the catalog, as numbered
// migrations. The package leaves opening, writing and reading files to internal/keyspace/sqlite.
//
// Its one invariant: a migration that has been released never changes; a change of shape is a new one.
//
// A keyspace is a folder:
//
//	provider1/
//	  catalog.db         Catalog: gateways, rollups and marks, the highest position
//	  2026-03.db         Blocks: the blocks whose readings lie in March 2026, UTC
//	  2026-04.db         retention removes whole files
//	  writer.lock        held by the one writer
//
// A month's file keeps the keys of blocks apart from their bytes:
//
//	names     id ── name                     each gateway's name once
//	blocks    day, gateway, first, from, to, part ── last, id     the key, in a tree that is written in one place a day
//	data      id ── data                     the bytes, appended in the order of writing, so that pages are full
//	position  the highest position of the file's blocks
//
// The day comes first in a block's key, because what is written now belongs to one day or two: a transaction then
// touches a thirtieth of the tree's pages. Times within the day take 6 bytes each instead of 8.
//
// The catalog:
//
//	names     id ── name                     each gateway's name once
//	gateways  id ── position, entry, tail    overwritten in position's order
//	rollups   gateway, span, start ── computed, stale, data    a month of one gateway lies together
//	heads     id ── head             what rollups of the same sensors begin with, once (since version 2)
//	unrolled  span, start, gateway           an index of the rollups that do not count, for those alone
//	position  the highest position that the keyspace knows, of the catalog's rows and of files that are gone
//
// A rollup's data is schema/rollup's; or, where its beginning is among heads:
//
//	3 bytes  "BRH"
//	uvarint  heads.id; 0 where nothing is missing, and the data merely begins so
//	bytes    the rest
package sql

import _ "embed" // the migrations are files

// Schema is the shape of one kind of file. Its version is the number of its migrations; a file says in application_id
// what it is and in user_version which version it has.
type Schema struct {
	Name        string
	Application int32    // SQLite's application_id
	PageSize    int      // bytes; given when a file is made
	Shrinks     bool     // the file gives free pages back (auto_vacuum = INCREMENTAL); given when it is made
	Migrations  []string // the i-th makes version i+1 from version i
}

// Version returns the newest version.
func (s *Schema) Version() int { return len(s.Migrations) }

//go:embed blocks/0001.sql
var blocks1 string

//go:embed catalog/0001.sql
var catalog1 string

//go:embed catalog/0002.sql
var catalog2 string

// Blocks returns the shape of a month's file. Its pages are large, since a page ends with on average half a block of
// nothing.
func Blocks() *Schema {
	return &Schema{Name: "blocks", Application: 0x4265426b, PageSize: 32 << 10, Migrations: []string{blocks1}}
}

// Catalog returns the shape of catalog.db. Its rows are overwritten in place, so smaller pages cost less to write; and tails
// leave free pages when a fleet falls silent.
func Catalog() *Schema {
	return &Schema{Name: "catalog", Application: 0x42654361, PageSize: 16 << 10, Shrinks: true, Migrations: []string{catalog1, catalog2}}
}
