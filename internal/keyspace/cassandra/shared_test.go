package cassandra_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"berth/internal/keyspace"
	"berth/internal/keyspace/keyspacetest"
	"berth/schema"
)

// sharing gives a backend's keyspaces names in a shared one, as the provisioner does: one that is made anew has another.
type sharing struct {
	keyspace.Backend
	mu   sync.Mutex
	made map[string]time.Time
}

func (s *sharing) full(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.made[name].IsZero() {
		s.made[name] = time.Now()
	}
	return keyspace.Shared(name, s.made[name])
}

func (s *sharing) Create(ctx context.Context, name string) error {
	return s.Backend.Create(ctx, s.full(name))
}

func (s *sharing) Drop(ctx context.Context, name string) error {
	err := s.Backend.Drop(ctx, s.full(name))
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.made[name] = time.Now()
	}
	return err
}

func (s *sharing) Writer(ctx context.Context, name string) (keyspace.Writer, error) {
	return s.Backend.Writer(ctx, s.full(name))
}

func (s *sharing) Reader(ctx context.Context, name string) (keyspace.Reader, error) {
	r, err := s.Backend.Reader(ctx, s.full(name))
	if err != nil {
		return nil, err
	}
	return &reopened{Reader: r, of: s, name: name}, nil
}

// reopened is a reader that is opened anew when its keyspace has been made anew.
type reopened struct {
	keyspace.Reader
	of   *sharing
	name string
}

func (r *reopened) Blocks(ctx context.Context, gateway string, from, to int64, yield func(keyspace.Block) error) error {
	err := r.Reader.Blocks(ctx, gateway, from, to, yield)
	if !schema.Is(err, schema.NotFound) {
		return err
	}
	next, opened := r.of.Reader(ctx, r.name)
	if opened != nil {
		return err
	}
	defer next.Close()
	return next.Blocks(ctx, gateway, from, to, yield)
}

// TestContractShared runs the contract suite on providers that share a keyspace with each other, and with what the other
// cases have left.
func TestContractShared(t *testing.T) {
	keyspacetest.Run(t, func(t *testing.T) keyspace.Backend {
		return &sharing{Backend: onSharedNode(t), made: map[string]time.Time{}}
	})
}
