package install

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Usage is what processes have used.
type Usage struct {
	CPU      time.Duration // user and system
	Resident int64         // bytes now; what processes share counts for each
	Own      int64         // bytes now, what processes share divided among them; 0 where the kernel does not say
	Peak     int64         // the most that was resident of each at any time
	Count    int           // of processes
}

// Used returns what a process and all that it started use.
func Used(pid int) (Usage, error) {
	var sum Usage
	if err := sum.add(pid); err != nil {
		return sum, err
	}
	all, err := below(pid)
	for _, p := range all {
		_ = sum.add(p) // it may have ended meanwhile
	}
	return sum, err
}

// clockTick is the unit of proc(5)'s times on Linux.
const clockTick = time.Second / 100

// add adds what one process uses.
func (u *Usage) add(pid int) error {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return err
	}
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 13 {
		return fmt.Errorf("the stat of process %d is cut short", pid)
	}
	for _, field := range fields[11:13] {
		ticks, err := strconv.Atoi(string(field))
		if err != nil {
			return err
		}
		u.CPU += time.Duration(ticks) * clockTick
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return err
	}
	u.Count++
	u.Resident += kilobytes(status, "VmRSS:")
	u.Peak += kilobytes(status, "VmHWM:")
	if rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid)); err == nil {
		u.Own += kilobytes(rollup, "Pss:")
	}
	return nil
}

// kilobytes returns a line of a file of proc(5) that says so many of them, in bytes.
func kilobytes(text []byte, name string) int64 {
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			kilo, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				return 0
			}
			return kilo << 10
		}
	}
	return 0
}
