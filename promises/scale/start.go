package main

import (
	"context"
	"fmt"
	"time"

	"berth/internal/api"
	"berth/internal/trucks"
)

// start measures how long ingest, killed with readings in its log, takes until it acknowledges again, and until it has read
// the log. At most some 64 MB of log are ever behind a keyspace that keeps up.
func (s *scale) start(ctx context.Context) error {
	fmt.Printf("\n# A start with readings in the log (ingest killed by SIGKILL right after they were acknowledged)\n")
	for _, step := range s.steps {
		if err := s.replay(ctx, 100_000*step); err != nil {
			return err
		}
	}
	return nil
}

// replay measures one step.
func (s *scale) replay(ctx context.Context, readings int) error {
	a, stop, err := s.provided(ctx, fmt.Sprint("start", readings))
	if err != nil {
		return err
	}
	defer stop()
	if _, err := a.in.CLI(ctx, "set", a.provider.Name, "--gateway-tag", trucks.GatewayTag); err != nil {
		return err
	}
	fleet := trucks.New(trucks.Options{Days: 1, Start: time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -1), Readings: readings})
	var body []byte
	err = fleet.Drive(func(lines []byte, _ int) error {
		if body = append(body, lines...); len(body) < 1<<20 {
			return nil
		}
		err := a.write(ctx, body)
		body = body[:0]
		return err
	})
	if err == nil {
		err = a.write(ctx, body)
	}
	if err != nil {
		return err
	}
	began, err := a.killed(ctx)
	if err != nil {
		return err
	}
	var books api.Books
	begun := time.Now()
	err = until(ctx, time.Minute, "the log being read", func() (bool, error) {
		err := a.get(ctx, "/books", &books)
		return err == nil && books.Log.Followed == books.Log.Last, err
	})
	if err != nil {
		return err
	}
	read := time.Since(begun)
	fmt.Printf("%8d readings sent: %d in the head afterwards, of %s of log; first acknowledgement %.2f s after the kill, all read at most %.2f s later: at least %.1f M readings/s, the start itself included\n",
		fleet.Readings(), books.Head.Readings, mega(int64(books.Log.Bytes)), began.Seconds(), read.Seconds(), float64(books.Head.Readings)/(began+read).Seconds()/1e6)
	return nil
}
