package sqlite

import "berth/internal/keyspace"

// EmptyLogs does at once what a writer does when nothing has been written for a while.
func EmptyLogs(w keyspace.Writer) {
	if w, ok := w.(*writer); ok {
		w.emptyLogs()
	}
}
