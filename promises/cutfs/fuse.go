package cutfs

import (
	"context"
	"errors"
	"slices"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// inode is a node as the kernel knows it through one mount.
type inode struct {
	fs.Inode
	disk *Disk
	node *node
}

// A method that is misspelled would be missing, and not noticed.
var (
	_ fs.NodeStatfser   = (*inode)(nil)
	_ fs.NodeGetattrer  = (*inode)(nil)
	_ fs.NodeSetattrer  = (*inode)(nil)
	_ fs.NodeReadlinker = (*inode)(nil)
	_ fs.NodeOpener     = (*inode)(nil)
	_ fs.NodeReader     = (*inode)(nil)
	_ fs.NodeWriter     = (*inode)(nil)
	_ fs.NodeFsyncer    = (*inode)(nil)
	_ fs.NodeReleaser   = (*inode)(nil)
	_ fs.NodeAllocater  = (*inode)(nil)
	_ fs.NodeLookuper   = (*inode)(nil)
	_ fs.NodeReaddirer  = (*inode)(nil)
	_ fs.NodeMkdirer    = (*inode)(nil)
	_ fs.NodeMknoder    = (*inode)(nil)
	_ fs.NodeLinker     = (*inode)(nil)
	_ fs.NodeSymlinker  = (*inode)(nil)
	_ fs.NodeCreater    = (*inode)(nil)
	_ fs.NodeUnlinker   = (*inode)(nil)
	_ fs.NodeRmdirer    = (*inode)(nil)
	_ fs.NodeRenamer    = (*inode)(nil)
)

// handle is an open file.
type handle struct {
	synced bool // every write is synced
}

// begin begins an operation: it fails when the power is off, and otherwise holds up a cut until done is called.
func (d *Disk) begin(kind Kind) (done func(), errno syscall.Errno) {
	if m := d.moment.Load(); m != nil && kind == m.kind && m.left.Add(-1) == 0 {
		d.Cut()
	}
	d.power.RLock()
	if d.off {
		d.power.RUnlock()
		return nil, syscall.EIO
	}
	return d.power.RUnlock, 0
}

func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &errno):
		return errno
	default:
		return syscall.EIO
	}
}

// describe fills in what stat tells.
func (n *node) describe(out *fuse.Attr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	out.Ino, out.Mode, out.Nlink, out.Blksize = n.ino, n.kind|n.mode, 1, 4096
	out.Owner = *fuse.CurrentOwner()
	if n.isFile() {
		out.Size = uint64(n.size)
		out.Blocks = (out.Size + 511) / 512
	}
	out.SetTimes(&n.changed, &n.changed, &n.changed)
}

// Statfs tells the room of the disk that the contents are really on.
func (i *inode) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	var s syscall.Statfs_t
	if err := syscall.Statfs(i.disk.dir, &s); err != nil {
		return errnoOf(err)
	}
	out.FromStatfsT(&s)
	return 0
}

// Getattr is stat.
func (i *inode) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	done, errno := i.disk.begin(Other)
	if errno != 0 {
		return errno
	}
	defer done()
	i.node.describe(&out.Attr)
	return 0
}

// Setattr is chmod, utimes and truncate.
func (i *inode) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	kind := Other
	if in.Valid&fuse.FATTR_SIZE != 0 {
		kind = Writing
	}
	done, errno := i.disk.begin(kind)
	if errno != 0 {
		return errno
	}
	defer done()
	if size, ok := in.GetSize(); ok {
		if err := i.node.resize(int64(size)); err != nil {
			return errnoOf(err)
		}
	}
	i.node.mu.Lock()
	if mode, ok := in.GetMode(); ok {
		i.node.mode = mode &^ syscall.S_IFMT
	}
	if at, ok := in.GetMTime(); ok {
		i.node.changed = at
	}
	i.node.mu.Unlock()
	i.node.describe(&out.Attr)
	return 0
}

// Readlink is readlink.
func (i *inode) Readlink(context.Context) ([]byte, syscall.Errno) { return []byte(i.node.target), 0 }

// Open is open of a file that exists.
func (i *inode) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	done, errno := i.disk.begin(Other)
	if errno != 0 {
		return nil, 0, errno
	}
	defer done()
	if flags&syscall.O_TRUNC != 0 {
		if err := i.node.resize(0); err != nil {
			return nil, 0, errnoOf(err)
		}
	}
	i.disk.mu.Lock()
	defer i.disk.mu.Unlock()
	h, cached := i.disk.opened(i.node, flags)
	return h, cached, 0
}

// opened counts a descriptor. The kernel keeps what it has read: all changes go through it. The caller holds mu.
func (d *Disk) opened(n *node, flags uint32) (*handle, uint32) {
	n.opens++
	return &handle{synced: flags&syscall.O_DSYNC != 0}, fuse.FOPEN_KEEP_CACHE
}

// Release is the last close of a descriptor.
func (i *inode) Release(context.Context, fs.FileHandle) syscall.Errno {
	i.disk.mu.Lock()
	defer i.disk.mu.Unlock()
	i.node.opens--
	i.disk.free(i.node)
	return 0
}

// Read is read.
func (i *inode) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	done, errno := i.disk.begin(Other)
	if errno != 0 {
		return nil, errno
	}
	defer done()
	count, err := i.node.read(dest, off)
	return fuse.ReadResultData(dest[:count]), errnoOf(err)
}

// Write is write.
func (i *inode) Write(_ context.Context, f fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	done, errno := i.disk.begin(Writing)
	if errno != 0 {
		return 0, errno
	}
	defer done()
	if len(data) == 0 {
		return 0, 0
	}
	err := i.node.write(slices.Clone(data), off)
	if h, ok := f.(*handle); ok && h.synced && err == nil {
		err = i.disk.sync(i.node)
	}
	return uint32(len(data)), errnoOf(err)
}

// Fsync is fsync and fdatasync, of files and directories.
func (i *inode) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	done, errno := i.disk.begin(Syncing)
	if errno != 0 {
		return errno
	}
	defer done()
	return errnoOf(i.disk.sync(i.node))
}

// sync brings a node's content to the disk, and the names that go with it.
func (d *Disk) sync(n *node) error {
	if n.isFile() {
		if err := n.sync(); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.syncNames(n)
	return nil
}

// Allocate is fallocate, as far as it makes a file longer.
func (i *inode) Allocate(_ context.Context, _ fs.FileHandle, off, size uint64, mode uint32) syscall.Errno {
	done, errno := i.disk.begin(Other)
	if errno != 0 {
		return errno
	}
	defer done()
	if mode != 0 {
		return syscall.EOPNOTSUPP
	}
	i.node.mu.Lock()
	longer := int64(off+size) > i.node.size
	i.node.mu.Unlock()
	if !longer {
		return 0
	}
	return errnoOf(i.node.resize(int64(off + size)))
}

// show tells the kernel of a node.
func (i *inode) show(ctx context.Context, n *node, out *fuse.EntryOut) *fs.Inode {
	n.describe(&out.Attr)
	return i.NewInode(ctx, &inode{disk: i.disk, node: n}, fs.StableAttr{Ino: n.ino, Mode: n.kind})
}

// Lookup finds a name.
func (i *inode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	done, errno := i.disk.begin(Other)
	if errno != 0 {
		return nil, errno
	}
	defer done()
	i.disk.mu.Lock()
	defer i.disk.mu.Unlock()
	n := i.node.seen[name]
	if n == nil {
		return nil, syscall.ENOENT
	}
	return i.show(ctx, n, out), 0
}

// Readdir lists a directory.
func (i *inode) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	done, errno := i.disk.begin(Other)
	if errno != 0 {
		return nil, errno
	}
	defer done()
	i.disk.mu.Lock()
	defer i.disk.mu.Unlock()
	var list []fuse.DirEntry
	for name, n := range i.node.seen {
		list = append(list, fuse.DirEntry{Name: name, Ino: n.ino, Mode: n.kind})
	}
	slices.SortFunc(list, func(a, b fuse.DirEntry) int { return strings.Compare(a.Name, b.Name) })
	return fs.NewListDirStream(list), 0
}

// make makes a node with a name.
func (i *inode) make(ctx context.Context, name string, mode uint32, out *fuse.EntryOut, fill func(*node)) (*fs.Inode, syscall.Errno) {
	done, errno := i.disk.begin(Making)
	if errno != 0 {
		return nil, errno
	}
	defer done()
	i.disk.mu.Lock()
	defer i.disk.mu.Unlock()
	if i.node.seen[name] != nil {
		return nil, syscall.EEXIST
	}
	n := i.disk.newNode(mode)
	if fill != nil {
		fill(n)
	}
	i.disk.do(&change{node: n, to: place{i.node, name}})
	return i.show(ctx, n, out), 0
}

// Mkdir is mkdir.
func (i *inode) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return i.make(ctx, name, syscall.S_IFDIR|mode, out, nil)
}

// Mknod is mknod: a socket's bind calls it.
func (i *inode) Mknod(ctx context.Context, name string, mode, _ uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return i.make(ctx, name, mode, out, nil)
}

// Symlink is symlink.
func (i *inode) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return i.make(ctx, name, syscall.S_IFLNK|0o777, out, func(n *node) { n.target = target })
}

// Create is open with O_CREAT of a file that does not exist.
func (i *inode) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	var h *handle
	var cached uint32
	made, errno := i.make(ctx, name, syscall.S_IFREG|mode&^syscall.S_IFMT, out, func(n *node) { h, cached = i.disk.opened(n, flags) })
	if errno != 0 {
		return nil, nil, 0, errno
	}
	return made, h, cached, 0
}

// Link is link.
func (i *inode) Link(ctx context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	done, errno := i.disk.begin(Making)
	if errno != 0 {
		return nil, errno
	}
	defer done()
	to, ok := target.(*inode)
	if !ok {
		return nil, syscall.EXDEV
	}
	i.disk.mu.Lock()
	defer i.disk.mu.Unlock()
	if i.node.seen[name] != nil {
		return nil, syscall.EEXIST
	}
	i.disk.do(&change{node: to.node, to: place{i.node, name}})
	return i.show(ctx, to.node, out), 0
}

// Unlink is unlink.
func (i *inode) Unlink(_ context.Context, name string) syscall.Errno { return i.take(name, false) }

// Rmdir is rmdir.
func (i *inode) Rmdir(_ context.Context, name string) syscall.Errno { return i.take(name, true) }

// take takes a name away.
func (i *inode) take(name string, dir bool) syscall.Errno {
	done, errno := i.disk.begin(Removing)
	if errno != 0 {
		return errno
	}
	defer done()
	i.disk.mu.Lock()
	defer i.disk.mu.Unlock()
	n := i.node.seen[name]
	switch {
	case n == nil:
		return syscall.ENOENT
	case dir && !n.isDir():
		return syscall.ENOTDIR
	case !dir && n.isDir():
		return syscall.EISDIR
	case len(n.seen) > 0:
		return syscall.ENOTEMPTY
	}
	i.disk.do(&change{node: n, from: place{i.node, name}})
	return 0
}

// Rename is rename.
func (i *inode) Rename(_ context.Context, name string, parent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	done, errno := i.disk.begin(Renaming)
	if errno != 0 {
		return errno
	}
	defer done()
	to, ok := parent.(*inode)
	if !ok {
		return syscall.EXDEV
	}
	i.disk.mu.Lock()
	defer i.disk.mu.Unlock()
	return i.disk.move(place{i.node, name}, place{to.node, newName}, flags)
}
