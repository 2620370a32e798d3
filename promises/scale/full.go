package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"berth/internal/api"
	"berth/internal/trucks"
	"berth/promises/install"
)

// full measures a start with a log that is full: the keyspace is held as a process that writes it would, until no more can be
// acknowledged; then ingest is killed, and reads all of it, seals it, and stores it.
func (s *scale) full(ctx context.Context) error {
	fmt.Printf("\n# A start with a full log of %s\n", s.logBytes)
	a, stop, err := s.provided(ctx, "full")
	if err != nil {
		return err
	}
	defer stop()
	if _, err := a.in.CLI(ctx, "set", a.provider.Name, "--gateway-tag", trucks.GatewayTag, "--log-bytes", s.logBytes); err != nil {
		return err
	}
	release, err := hold(ctx, a.in)
	if err != nil {
		return err
	}
	defer release()
	begun := time.Now()
	books, err := a.fill(ctx)
	if err != nil {
		return err
	}
	filled := time.Since(begun)
	if err := a.in.KillInstance(ctx, a.provider.Name, "ingest"); err != nil {
		return err
	}
	begun = time.Now()
	release()
	var now api.Books
	err = until(ctx, 10*time.Minute, "the log being read", func() (bool, error) {
		err := a.get(ctx, "/books", &now)
		return err == nil && now.Log.Last >= books.Log.Last && now.Log.Followed >= books.Log.Last, err
	})
	if err != nil {
		return err
	}
	read := time.Since(begun)
	pid, err := a.in.InstancePID(ctx, a.provider.Name, "ingest")
	if err != nil {
		return err
	}
	ingest, err := install.Used(pid)
	if err != nil {
		return err
	}
	n := float64(books.Readings.Accepted)
	fmt.Printf("%.1f M readings in %s of log, filled in %.0f s; all read, and all but %.1f M of them stored, %.1f s after SIGKILL: %.1f M readings/s; ingest took %.1f s of processors and %s at most\n",
		n/1e6, mega(int64(books.Log.Bytes)), filled.Seconds(), float64(now.Head.Readings)/1e6, read.Seconds(), n/read.Seconds()/1e6, ingest.CPU.Seconds(), mega(ingest.Peak))
	return nil
}

// errFull ends the sending.
var errFull = errors.New("the log is full")

// fill sends readings of trucks until the log takes no more, and returns the books then.
func (a *asked) fill(ctx context.Context) (*api.Books, error) {
	const days = 300
	start := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -days)
	fleet := trucks.New(trucks.Options{Days: days, Start: start, Readings: math.MaxInt})
	var books api.Books
	body, sent := []byte(nil), 0
	err := fleet.Drive(func(lines []byte, _ int) error {
		if body = append(body, lines...); len(body) < 1<<20 {
			return nil
		}
		err := a.write(ctx, body)
		body = body[:0]
		if sent++; err == nil && sent%32 != 0 {
			return nil
		}
		if berr := a.get(ctx, "/books", &books); berr != nil || err == nil {
			return berr
		}
		if books.Log.Bytes < books.Log.Quota/10*9 {
			return err
		}
		return errFull // the tenth that is left is for what lets it be emptied
	})
	if !errors.Is(err, errFull) {
		return nil, fmt.Errorf("fill the log, which holds %d bytes of %d: %w", books.Log.Bytes, books.Log.Quota, err)
	}
	return &books, nil
}

// hold holds the keyspace's catalog as another process that writes it would, until the returned function: by the lock of
// SQLite's write-ahead log.
func hold(ctx context.Context, in *install.Install) (release func(), err error) {
	files, err := filepath.Glob(filepath.Join(in.Data, "keyspaces", "*", "catalog.db-shm"))
	if err != nil || len(files) != 1 {
		return nil, fmt.Errorf("the keyspace's catalog is one of %q: %w", files, err)
	}
	f, err := os.OpenFile(files[0], os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	const writeLock = 120
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart, Start: writeLock, Len: 1}
	err = until(ctx, 10*time.Second, "holding "+files[0], func() (bool, error) {
		err := syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &lock)
		return err == nil, err
	})
	if err == nil {
		return func() { _ = f.Close() }, nil // which ends the lock
	}
	_ = f.Close() // it holds nothing
	return nil, err
}
