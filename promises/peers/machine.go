package main

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"syscall"
	"time"
)

// ownCPU returns what this process has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// diskUse returns what the files below a folder occupy, in whole blocks of the file system.
func diskUse(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // a server removes files while it compacts
		}
		if info, err := d.Info(); err == nil {
			if s, ok := info.Sys().(*syscall.Stat_t); ok {
				size += s.Blocks * 512
			}
		}
		return nil
	})
	return size, err
}

// steady waits until what the files below a folder occupy has not changed for a while, and returns it.
func steady(ctx context.Context, dir string, quiet, limit time.Duration) (int64, error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	begun, since, last := time.Now(), time.Now(), int64(-1)
	for {
		size, err := diskUse(dir)
		if err != nil {
			return 0, err
		}
		if size != last {
			last, since = size, time.Now()
		}
		if time.Since(since) >= quiet || time.Since(begun) >= limit {
			return size, nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-tick.C:
		}
	}
}

// freeAddress returns an address of this machine that nobody listens at.
func freeAddress(ctx context.Context) (string, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer listener.Close() //nolint:errcheck // it only told a port
	return listener.Addr().String(), nil
}
