package sqlite

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"berth/schema"
)

// writerLock is the operating system's lock on a keyspace's writer.lock. It ends with its holder, however that ends.
type writerLock struct{ file *os.File }

// lock takes the lock of the keyspace in dir: NotFound when there is no such folder, Conflict when somebody holds it.
func lock(name, dir string) (*writerLock, error) {
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if os.IsNotExist(err) {
		return nil, notFound(name)
	}
	if err != nil {
		return nil, fileError("lock keyspace "+name, path, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer func() { _ = f.Close() }()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, held(name, f)
		}
		return nil, fileError("lock keyspace "+name, path, err)
	}
	// The keyspace may have been dropped between opening and locking.
	mine, err := f.Stat()
	if err == nil {
		var there os.FileInfo
		if there, err = os.Stat(path); err == nil && os.SameFile(mine, there) {
			return sign(f), nil
		}
	}
	_ = f.Close()
	return nil, notFound(name)
}

// sign writes into the file who holds it. It is for people; that it could not be written hurts nobody.
func sign(f *os.File) *writerLock {
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt(fmt.Appendf(nil, "process %d (%s)\n", os.Getpid(), filepath.Base(os.Args[0])), 0)
	}
	return &writerLock{file: f}
}

func held(name string, f *os.File) error {
	who := "another process"
	if text, err := io.ReadAll(io.LimitReader(f, 256)); err == nil && len(text) > 0 {
		who = strings.TrimSpace(string(text))
	}
	return schema.Errorf(schema.Conflict, "keyspace %s is held by %s, its one writer", name, who).
		WithNext("stop that process first")
}

// release gives the lock back. The file stays: removing it would let two hold it.
func (l *writerLock) release() { _ = l.file.Close() }
