package install

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// KillAll kills the provisioner and everything that it has started by SIGKILL, and returns when all have gone: what a
// power cut does to programs.
func (i *Install) KillAll(ctx context.Context) error {
	pid := i.PID()
	_ = syscall.Kill(pid, syscall.SIGSTOP) // it starts nothing from now on
	stopped := func() bool { state, _ := stat(pid); return state == 'T' || gone(state) }
	if err := until(ctx, stopped); err != nil {
		return fmt.Errorf("stop the provisioner: %w", err)
	}
	all, err := below(pid)
	if err != nil {
		return fmt.Errorf("find what the provisioner has started: %w", err)
	}
	for _, p := range append([]int{pid}, all...) {
		_ = syscall.Kill(p, syscall.SIGKILL)
	}
	<-i.ended
	for _, p := range all {
		if err := until(ctx, func() bool { state, _ := stat(p); return gone(state) }); err != nil {
			return fmt.Errorf("wait for the end of process %d: %w", p, err)
		}
	}
	return nil
}

func gone(state byte) bool { return state == 0 || state == 'Z' || state == 'X' }

// until asks again until fn says true.
func until(ctx context.Context, fn func() bool) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if fn() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// below returns the children of a process, and theirs.
func below(pid int) (all []int, err error) {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, path := range paths {
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			return nil, err
		}
		if _, parent := stat(child); parent > 0 {
			children[parent] = append(children[parent], child)
		}
	}
	for list := children[pid]; len(list) > 0; list = list[1:] {
		all = append(all, list[0])
		list = append(list, children[list[0]]...)
	}
	return all, nil
}

// stat returns the letter of a process's state and its parent, zeros when there is no such process.
func stat(pid int) (state byte, parent int) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, 0
	}
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 2 {
		return 0, 0
	}
	parent, _ = strconv.Atoi(string(fields[1])) // the kernel wrote it
	return fields[0][0], parent
}
