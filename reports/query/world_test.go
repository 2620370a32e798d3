package query

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"berth/reports/query/querytest"
	"berth/schema/record"
)

const testGateway = querytest.Gateway

// now is when the questions of these tests are asked.
var now = querytest.Now

type event = querytest.Event

// world is a history as a running installation may hold it, and an engine that answers about it.
type world struct {
	*querytest.World

	engine *Engine
	ctx    context.Context //nolint:containedctx // of the test
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{World: querytest.New(t), ctx: context.Background()}
	settings := record.DefaultSettings()
	w.engine = New(Options{
		Store: w.Store, Head: w.Head, Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler),
		Settings: func() record.Settings { return settings },
		Keys:     func() []string { return []string{"quiet"} },
	})
	return w
}
