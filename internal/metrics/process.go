package metrics

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// begun is when the program began, as far as this package can tell.
var begun = time.Now()

// process puts what the process takes of the machine. What the system does not tell is left out.
func process(s *Sink) {
	s.Put(Goroutines, float64(runtime.NumGoroutine()))
	s.Put(Started, float64(begun.UnixMilli())/1000)
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) == nil {
		s.Put(CPU, float64(usage.Utime.Nano()+usage.Stime.Nano())/1e9)
	}
	text, err := os.ReadFile("/proc/self/statm") // pages: size, resident, ...
	if err != nil {
		return
	}
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return
	}
	if pages, err := strconv.ParseUint(string(fields[1]), 10, 64); err == nil {
		s.Put(Resident, float64(pages)*float64(os.Getpagesize()))
	}
}
