// Package disk watches how much room there is on the disks that an installation's data lie on.
//
// It says when gateways should wait and when they may go on; making them wait is left to each provider's ingest, which
// asks. Its one invariant: what is low stays low until a quarter more than the reserve is free, so that nobody is stopped
// and started by turns.
package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"berth/internal/houseapi"
)

// room is what is free beyond which NATS can work, whatever the reserve is.
const room = 256 << 20

// Space is what is free on a disk, how large it is, in bytes, and which it is.
type Space struct {
	Free, Size uint64
	Disk       uint64
}

// Folder is a folder whose disk is watched, and what lies there, as people who may not know its path are told.
type Folder struct{ Name, Path string }

// Watch watches the disks of some folders. It is safe for concurrent use.
type Watch struct {
	folders []Folder
	reserve Reserve
	log     *slog.Logger
	space   func(dir string) (Space, error) // Of

	mu  sync.Mutex // guards low
	low bool
}

// New returns a watch of the disks that the folders lie on, or will.
func New(reserve Reserve, log *slog.Logger, folders ...Folder) *Watch {
	return &Watch{folders: folders, reserve: reserve, log: log, space: Of}
}

// Look looks at the disks. What cannot be looked at is taken to have room.
func (w *Watch) Look() houseapi.Disk {
	w.mu.Lock()
	defer w.mu.Unlock()
	var full []string
	seen := map[uint64]bool{}
	for _, f := range w.folders {
		s, err := w.space(f.Path)
		if err != nil || seen[s.Disk] {
			continue
		}
		seen[s.Disk] = true
		if reserve := w.reserve.Of(s.Size); s.Free < reserve || w.low && s.Free < reserve+reserve/4 {
			full = append(full, fmt.Sprintf("%s are free on the disk of %s, and %s are kept free", Size(s.Free), f.Name, Size(reserve)))
		}
	}
	detail := strings.Join(full, "; ")
	if low := len(full) > 0; low != w.low {
		w.low = low
		if low {
			w.log.Warn("a disk is nearly full: gateways wait", "detail", detail)
		} else {
			w.log.Info("the disks have room again")
		}
	}
	return houseapi.Disk{Low: w.low, Detail: detail}
}

// Room reports whether NATS can work with what is free: it can with less than what is kept free from gateways, so that
// the log can be trimmed, which frees more.
func (w *Watch) Room() bool {
	for _, f := range w.folders {
		if s, err := w.space(f.Path); err == nil && s.Free < min(room, w.reserve.Of(s.Size)/2) {
			return false
		}
	}
	return true
}

// Of returns what is free on the disk that a folder lies on, or will.
func Of(dir string) (Space, error) {
	var s syscall.Statfs_t
	for {
		var file syscall.Stat_t
		err := errors.Join(syscall.Statfs(dir, &s), syscall.Stat(dir, &file))
		if err == nil {
			return Space{Free: s.Bavail * uint64(s.Bsize), Size: s.Blocks * uint64(s.Bsize), Disk: file.Dev}, nil
		}
		up := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || up == dir {
			return Space{}, fmt.Errorf("look at the disk of %s: %w", dir, err)
		}
		dir = up
	}
}
