package cutfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Folders of a disk: contents as programs see them, and as they are on the disk.
const (
	seenSide = "seen"
	keptSide = "kept"
)

// node is a file, a directory, or whatever else has a name.
type node struct {
	disk   *Disk
	ino    uint64
	kind   uint32 // its type, of S_IFMT
	target string // of a symbolic link

	// Guarded by Disk.mu.
	seen, kept map[string]*node // of a directory: its names, as programs see them and as they are on the disk
	refs       int              // names in either view, and changes that wait
	opens      int              // descriptors

	mu      sync.Mutex // guards what follows
	mode    uint32     // permissions
	changed time.Time
	size    int64
	now     *os.File // of a file: its content as programs see it; nil before the first use
	synced  *os.File // of a file: its content as it is on the disk
	waiting []write  // what a sync would bring from the one to the other, in order
	bytes   int      // of what waits
}

// write is one change of a file's content.
type write struct {
	off  int64
	data []byte // nil: the file's size became off
}

// newNode makes a node without a name. The caller holds mu, or is alone.
func (d *Disk) newNode(mode uint32) *node {
	d.last++
	n := &node{disk: d, ino: d.last, kind: mode & syscall.S_IFMT, mode: mode &^ syscall.S_IFMT, changed: time.Now()}
	if n.isDir() {
		n.seen, n.kept = map[string]*node{}, map[string]*node{}
	}
	d.nodes[n.ino] = n
	return n
}

func (n *node) isDir() bool  { return n.kind == syscall.S_IFDIR }
func (n *node) isFile() bool { return n.kind == syscall.S_IFREG }

// path returns where the node's content is kept.
func (n *node) path(side string) string {
	return filepath.Join(n.disk.dir, side, strconv.FormatUint(n.ino, 10))
}

// ready opens both contents. The caller holds mu.
func (n *node) ready() (err error) {
	if n.synced != nil {
		return nil
	}
	if !n.isFile() {
		return syscall.EINVAL
	}
	const flags = os.O_RDWR | os.O_CREATE
	if n.now, err = os.OpenFile(n.path(seenSide), flags, 0o600); err != nil {
		return err
	}
	if n.synced, err = os.OpenFile(n.path(keptSide), flags, 0o600); err != nil {
		return errors.Join(err, n.now.Close())
	}
	return nil
}

// read reads what programs see.
func (n *node) read(dest []byte, off int64) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.ready(); err != nil {
		return 0, err
	}
	count, err := n.now.ReadAt(dest, off)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return count, err
}

// write writes what programs see. The data are the node's from now on.
func (n *node) write(data []byte, off int64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.ready(); err != nil {
		return err
	}
	if _, err := n.now.WriteAt(data, off); err != nil {
		return err
	}
	n.size = max(n.size, off+int64(len(data)))
	return n.wait(write{off: off, data: data})
}

// resize gives the file another size.
func (n *node) resize(size int64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.ready(); err != nil {
		return err
	}
	if err := n.now.Truncate(size); err != nil {
		return err
	}
	n.size = size
	return n.wait(write{off: size})
}

// wait lets a change wait for a sync; when too much waits, the older half goes to the disk. The caller holds mu.
func (n *node) wait(w write) error {
	n.changed = time.Now()
	n.waiting = append(n.waiting, w)
	n.bytes += len(w.data)
	if n.disk.lies.Load() || n.bytes <= cacheLimit && len(n.waiting) <= cacheLimit>>12 {
		return nil
	}
	return n.flush((len(n.waiting) + 1) / 2)
}

// sync brings everything that waits to the disk.
func (n *node) sync() error {
	if n.disk.lies.Load() {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.flush(len(n.waiting))
}

// flush brings what has waited longest to the disk. The caller holds mu.
func (n *node) flush(count int) error {
	for _, w := range n.waiting[:count] {
		if err := w.apply(n.synced); err != nil {
			return fmt.Errorf("write content %d: %w", n.ino, err)
		}
		n.bytes -= len(w.data)
	}
	if n.waiting = n.waiting[count:]; len(n.waiting) == 0 {
		n.waiting = nil
	}
	return nil
}

func (w write) apply(f *os.File) error {
	if w.data == nil {
		return f.Truncate(w.off)
	}
	_, err := f.WriteAt(w.data, w.off)
	return err
}

// close closes the contents.
func (n *node) close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.synced == nil {
		return nil
	}
	err := errors.Join(n.now.Close(), n.synced.Close())
	n.now, n.synced = nil, nil
	return err
}

// remove removes the contents.
func (n *node) remove() error {
	errs := []error{n.close()}
	n.waiting = nil
	if !n.isFile() {
		return nil
	}
	for _, side := range []string{seenSide, keptSide} {
		if err := os.Remove(n.path(side)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
