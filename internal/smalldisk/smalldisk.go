// Package smalldisk gives tests a disk that they can fill: a tmpfs of its own, which only root may mount.
//
// Its one invariant: it is unmounted when the test ends, whatever is still open on it.
package smalldisk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Disk is a small disk.
type Disk struct {
	Dir string // where it is mounted

	t       testing.TB
	ballast string // the file that fills it
}

// Mount mounts a disk of so many bytes in a folder of the test. The test is skipped where that is not permitted.
func Mount(t testing.TB, size uint64) *Disk {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	err := syscall.Mount("berth-test", dir, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, fmt.Sprintf("size=%d,mode=0700", size))
	switch {
	case errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.ENODEV):
		t.Skipf("a small disk cannot be mounted here, which takes root and tmpfs: %v", err)
	case err != nil:
		t.Fatalf("mount a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount the small disk: %v", err)
		}
	})
	return &Disk{Dir: dir, t: t, ballast: filepath.Join(dir, "ballast")}
}

// Free returns how many bytes are free.
func (d *Disk) Free() uint64 {
	d.t.Helper()
	var s syscall.Statfs_t
	if err := syscall.Statfs(d.Dir, &s); err != nil {
		d.t.Fatal(err)
	}
	return s.Bavail * uint64(s.Bsize)
}

// Fill fills the disk with a file until no more than leave bytes are free.
func (d *Disk) Fill(leave uint64) {
	d.t.Helper()
	f, err := os.OpenFile(d.ballast, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // what is in it is of no interest
	piece := make([]byte, 1<<20)
	for free := d.Free(); free > leave; free = d.Free() {
		_, err := f.Write(piece[:min(uint64(len(piece)), free-leave)])
		if errors.Is(err, syscall.ENOSPC) {
			return
		}
		if err != nil {
			d.t.Fatal(err)
		}
	}
}

// Empty removes the file that fills the disk.
func (d *Disk) Empty() {
	d.t.Helper()
	if err := os.Remove(d.ballast); err != nil {
		d.t.Fatal(err)
	}
}
