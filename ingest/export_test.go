package ingest

import "berth/internal/keyspace"

// Wrap has the instance write its keyspace through what wrap returns.
func (i *Ingest) Wrap(wrap func(keyspace.Writer) keyspace.Writer) { i.wrap = wrap }
