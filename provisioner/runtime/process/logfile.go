package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"berth/internal/logging"
	"berth/provisioner/runtime"
	"berth/schema"
)

// kept is how many older files a log keeps beside the one that is written: name.log.1 is younger than name.log.2.
const kept = 2

// followEvery is how often a followed log is looked at.
const followEvery = 200 * time.Millisecond

// logFile is a log of bounded size. It never fails its writer: output that cannot be written is dropped, since a full
// disk must not stop the instance.
type logFile struct {
	path string
	most int64 // bytes of one file

	mu     sync.Mutex // guards what follows
	file   *os.File   // nil: closed, or could not be opened
	size   int64
	closed bool
}

func openLog(path string, most int64) (*logFile, error) {
	l := &logFile{path: path, most: most}
	if err := l.open(); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *logFile) open() error {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return errors.Join(fmt.Errorf("open log: %w", err), f.Close())
	}
	l.file, l.size = f, size
	return nil
}

// Write appends to the log; it always returns len(p).
func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil && !l.closed {
		_ = l.open() // the disk may have room again
	}
	if l.file == nil {
		return len(p), nil
	}
	if l.size > 0 && l.size+int64(len(p)) > l.most {
		l.rotate()
	}
	if l.file != nil {
		n, _ := l.file.Write(p)
		l.size += int64(n)
	}
	return len(p), nil
}

// output is what one process writes. It goes into the log, and its end is remembered apart from what others write there.
type output struct {
	log  *logFile
	last []byte
}

// lastMost is how much of the end of an output is remembered, in bytes.
const lastMost = 4 << 10

// Write appends to the log; it always returns len(p).
func (o *output) Write(p []byte) (int, error) {
	o.last = append(o.last, p...)
	o.last = append(o.last[:0], o.last[max(0, len(o.last)-lastMost):]...)
	return o.log.Write(p)
}

// lastError returns the error that the last line tells, in the log's schema; empty when it tells none. It is for when the process
// has been waited for.
func (o *output) lastError() string {
	lines := bytes.Split(bytes.TrimSpace(o.last), []byte{'\n'})
	var line struct{ Level, Error string }
	if json.Unmarshal(lines[len(lines)-1], &line) != nil || line.Level != "ERROR" {
		return ""
	}
	return line.Error
}

// rotate begins a new file; what is older than the kept ones goes.
func (l *logFile) rotate() {
	_ = l.file.Close()
	l.file = nil
	for n := kept; n > 1; n-- {
		_ = os.Rename(rotated(l.path, n-1), rotated(l.path, n))
	}
	_ = os.Rename(l.path, rotated(l.path, 1))
	_ = l.open()
}

// note writes a line of our own between the instance's lines.
func (l *logFile) note(what string, s runtime.Spec, pid int, reason string) {
	log := logging.New(l, logging.Options{Service: "provisioner", Provider: s.Provider}).
		With("instance", s.Name, "pid", pid, "spec", s.Hash, "version", s.Version)
	if what == "ended" {
		log.Info("the provisioner saw the instance end", "reason", reason)
		return
	}
	log.Info("the provisioner started the instance")
}

// Close closes the log; later writes are dropped.
func (l *logFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}

func rotated(path string, n int) string { return fmt.Sprintf("%s.%d", path, n) }

// readLogs writes a log's last lines, older files first, and follows it if asked.
func readLogs(ctx context.Context, path string, o runtime.LogOptions, w io.Writer) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return schema.Errorf(schema.NotFound, "no instance has written this log yet")
	}
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer func() { _ = f.Close() }()
	var all []byte
	for n := kept; n > 0; n-- {
		old, err := os.ReadFile(rotated(path, n))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("read log: %w", err)
		}
		all = append(all, old...)
	}
	newest, err := io.ReadAll(f)
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	if _, err := w.Write(runtime.LastLines(append(all, newest...), o.Lines)); err != nil || !o.Follow {
		return err
	}
	return follow(ctx, path, &f, w)
}

// follow writes what is appended to the file, and goes on with the next one when it is rotated.
func follow(ctx context.Context, path string, f **os.File, w io.Writer) error {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if _, err := io.Copy(w, *f); err != nil {
			return err
		}
		now, err := os.Stat(path)
		if err != nil {
			continue // between two names
		}
		was, err := (*f).Stat()
		if err != nil {
			return fmt.Errorf("follow log: %w", err)
		}
		if os.SameFile(now, was) {
			continue
		}
		if _, err := io.Copy(w, *f); err != nil { // what came before it was renamed
			return err
		}
		next, err := os.Open(path)
		if err != nil {
			continue
		}
		_ = (*f).Close()
		*f = next
	}
}
