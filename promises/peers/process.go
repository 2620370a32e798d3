package main

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// usage is what processes have used.
type usage struct {
	cpu      time.Duration // user and system
	resident int64         // bytes now
	peak     int64         // the most that each had at any time
}

// used returns what a process and all that it started use.
func used(pid int) (usage, error) {
	parents, err := parentage()
	if err != nil {
		return usage{}, err
	}
	var sum usage
	for p := range parents {
		if !descends(p, pid, parents) {
			continue
		}
		if err := sum.add(p); err != nil && p == pid {
			return sum, err
		}
	}
	return sum, nil
}

// descends reports whether a process is another or was started by it, or by one that was.
func descends(p, ancestor int, parents map[int]int) bool {
	for ; p > 1; p = parents[p] {
		if p == ancestor {
			return true
		}
	}
	return false
}

// parentage returns the parent of each process.
func parentage() (map[int]int, error) {
	found, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	parents := map[int]int{}
	for _, path := range found {
		pid, err := strconv.Atoi(filepath.Base(path))
		if err != nil {
			continue
		}
		if fields := stat(pid); len(fields) > 1 {
			parents[pid], _ = strconv.Atoi(fields[1])
		}
	}
	return parents, nil
}

// stat returns what proc(5) says of a process, from its state on; nothing of one that has gone.
func stat(pid int) []string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
}

// clockTick is the unit of proc(5)'s times on Linux.
const clockTick = time.Second / 100

// add adds what one process uses.
func (u *usage) add(pid int) error {
	fields := stat(pid)
	if len(fields) < 13 {
		return fmt.Errorf("process %d has gone", pid)
	}
	for _, field := range fields[11:13] {
		ticks, err := strconv.Atoi(field)
		if err != nil {
			return err
		}
		u.cpu += time.Duration(ticks) * clockTick
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(status)) {
		name, rest, _ := strings.Cut(line, ":")
		sum, wanted := map[string]*int64{"VmRSS": &u.resident, "VmHWM": &u.peak}[name]
		if !wanted {
			continue
		}
		kilo, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		if err != nil {
			return err
		}
		*sum += kilo << 10
	}
	return nil
}

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
