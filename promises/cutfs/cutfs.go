// Package cutfs is a file system for the promises about power cuts: a disk with a volatile cache, mounted by FUSE as
// root. Programs see what they wrote; what they synced is on the disk; a cut takes the rest away, in part and by chance.
//
//	 program ──write, rename, …──▶ cache ──sync──▶ disk
//	    ▲                            │               │
//	    └──────────read──────────────┘               ▼
//	                                 └──some of it──▶ what a cut leaves
//
//	operation            what makes it durable               what a cut may do before that
//	write, append        fsync or fdatasync of the file,     keep any of its sectors, of 512 or 4,096 bytes; a file may
//	                     or O_SYNC, O_DSYNC                  have grown without its data: it reads as zeros
//	truncate, fallocate  the same                            undo it, with what was written behind it since
//	create, link         fsync of the file, or of the        undo it
//	                     directory
//	mkdir, symlink,      fsync of the directory that         undo it, with all that is below
//	mknod                holds the name
//	rename               fsync of either directory           undo it as a whole
//	unlink, rmdir        fsync of the directory              undo it
//
// As on ext4, a file's own sync keeps its creation; unlike there it keeps nothing else, so that a program may not rely
// on a journal that happens to commit everything at once. What a journal never does is not done here either: changes of
// one name survive in their order, a directory goes only after what was in it, and moves of directories keep their
// order. Modes and times are kept at once, locks belong to the kernel, and what is open keeps its file.
//
// The cache is bounded: beyond cacheLimit bytes of a file, or journalLimit changes of names, the oldest reach the disk,
// as they do on every system in time.
//
// Its one invariant: from the moment that [Disk.Cut] returns nothing reaches the disk, and every operation fails. An
// operation that was answered before is either on the disk or subject to the table.
package cutfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

const (
	cacheLimit   = 4 << 20 // bytes of a file that wait for a sync
	journalLimit = 4096    // changes of names that wait for one
)

// Disk is a disk with a volatile cache. Its methods are for one goroutine, but Cut and Off may be called by any.
type Disk struct {
	dir    string       // where contents are kept
	lies   atomic.Bool  // it answers a sync and does nothing, and a cut leaves nothing
	at     string       // where it is mounted, empty when it is not
	server *fuse.Server // while mounted

	moment atomic.Pointer[moment]

	power sync.RWMutex // every operation holds it for reading; guards off; taken before all others
	off   bool

	mu      sync.Mutex // guards the names: directories and the journal; taken before a node's
	root    *node
	last    uint64 // number of the newest node
	nodes   map[uint64]*node
	journal []*change
}

// New returns an empty disk that keeps contents in dir, which is its alone.
func New(dir string) (*Disk, error) {
	for _, side := range []string{seenSide, keptSide} {
		if err := os.MkdirAll(filepath.Join(dir, side), 0o700); err != nil {
			return nil, fmt.Errorf("make the disk's folder: %w", err)
		}
	}
	d := &Disk{dir: dir, nodes: map[uint64]*node{}}
	d.root = d.newNode(syscall.S_IFDIR | 0o700)
	return d, nil
}

// Mount mounts the disk on an empty folder. It must be unmounted before the process ends.
func (d *Disk) Mount(at string) error {
	hour := time.Hour // nobody but this mount changes anything
	opts := &fs.Options{EntryTimeout: &hour, AttrTimeout: &hour, RootStableAttr: &fs.StableAttr{Ino: d.root.ino}}
	opts.MountOptions = fuse.MountOptions{
		FsName: "cutfs", Name: "cutfs", DirectMountStrict: true, MaxWrite: 1 << 20, DisableXAttrs: true,
		ExplicitDataCacheControl: true,
	}
	// A program that inherited the device would keep the file system alive.
	syscall.ForkLock.RLock()
	server, err := fuse.NewServer(fs.NewNodeFS(&inode{disk: d, node: d.root}, opts), at, &opts.MountOptions)
	closeDeviceOnExec()
	syscall.ForkLock.RUnlock()
	if err != nil {
		return fmt.Errorf("mount the disk on %s (this takes root and /dev/fuse): %w", at, err)
	}
	go server.Serve()
	if err := server.WaitMount(); err != nil {
		return fmt.Errorf("mount the disk on %s: %w", at, err)
	}
	d.at, d.server = at, server
	return nil
}

// closeDeviceOnExec keeps children from inheriting the descriptor of /dev/fuse, which go-fuse opens without that flag.
func closeDeviceOnExec() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err == nil && to == "/dev/fuse" {
			var fd int
			if _, err := fmt.Sscan(e.Name(), &fd); err == nil {
				syscall.CloseOnExec(fd)
			}
		}
	}
}

// Unmount unmounts the disk; nobody may be in it any more. What was not synced stays in the cache. It may be called twice.
func (d *Disk) Unmount() error {
	if d.server == nil {
		return nil
	}
	if err := d.server.Unmount(); err != nil {
		return fmt.Errorf("unmount %s (used by %s): %w", d.at, strings.Join(users(d.at), ", "), err)
	}
	d.server.Wait()
	d.server = nil
	return nil
}

// users names the processes that have something open below a folder.
func users(dir string) (who []string) {
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*") // a pattern without fault
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, dir) {
			who = append(who, strings.Split(fd, "/")[2]+":"+to)
		}
	}
	return who
}

// Cut cuts the power. Operations that are under way end first; every later one fails.
func (d *Disk) Cut() {
	d.power.Lock()
	defer d.power.Unlock()
	d.off = true
}

// Kind is a kind of operation.
type Kind int

// The kinds of operations.
const (
	Other    Kind = iota // changes nothing
	Writing              // writes, truncates
	Syncing              // of files and directories
	Making               // gives a new name
	Renaming             //
	Removing             // takes a name away
)

// moment is when to cut: just before one of the operations of a kind.
type moment struct {
	kind Kind
	left atomic.Int64
}

// CutBefore cuts the power just before so many more operations of a kind have begun, 1 meaning the next; it replaces
// what an earlier call said. So a cut comes at moments that chance hardly finds.
func (d *Disk) CutBefore(kind Kind, count int) {
	m := &moment{kind: kind}
	m.left.Store(int64(count))
	d.moment.Store(m)
}

// Lie makes the disk answer every sync from now on and do nothing, as some do: a cut leaves what there was before.
func (d *Disk) Lie() { d.lies.Store(true) }

// Off tells whether the power is off.
func (d *Disk) Off() bool {
	d.power.RLock()
	defer d.power.RUnlock()
	return d.off
}

// Close removes what the disk holds. It is unmounted.
func (d *Disk) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, n := range d.nodes {
		errs = append(errs, n.close())
	}
	return errors.Join(append(errs, os.RemoveAll(d.dir))...)
}
