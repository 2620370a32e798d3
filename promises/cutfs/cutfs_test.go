package cutfs

import (
	"bytes"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if task, ok := os.LookupEnv(childTask); ok {
		path, _ := os.LookupEnv(childPath)
		os.Exit(beChild(task, path))
	}
	goleak.VerifyTestMain(m)
}

// disk is a mounted disk of a test.
type disk struct {
	*Disk
	t   *testing.T
	dir string
}

func newDisk(t *testing.T) *disk {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting takes root")
	}
	made, err := New(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	d := &disk{Disk: made, t: t, dir: t.TempDir()}
	if err := d.Mount(d.dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Unmount(); err != nil {
			t.Error(err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// cut cuts the power and switches it on again.
func (d *disk) cut(random *rand.Rand) {
	d.t.Helper()
	d.Cut()
	if _, err := os.ReadDir(d.dir); err == nil {
		d.t.Error("a folder can be read without power")
	}
	d.must(d.Unmount())
	d.must(d.Restore(random))
	d.must(d.Mount(d.dir))
}

func (d *disk) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *disk) path(name string) string { return filepath.Join(d.dir, name) }

// write writes a file at an offset, making it when it is not there.
func (d *disk) write(name string, off int64, data []byte, flags int) {
	d.t.Helper()
	f, err := os.OpenFile(d.path(name), os.O_WRONLY|os.O_CREATE|flags, 0o600)
	d.must(err)
	if len(data) > 0 {
		_, err = f.WriteAt(data, off)
		d.must(err)
	}
	d.must(f.Close())
}

// sync syncs a file or a folder.
func (d *disk) sync(name string) {
	d.t.Helper()
	f, err := os.Open(d.path(name))
	d.must(err)
	d.must(f.Sync())
	d.must(f.Close())
}

// read returns a file's content, and nil when there is none.
func (d *disk) read(name string) []byte {
	d.t.Helper()
	data, err := os.ReadFile(d.path(name))
	if os.IsNotExist(err) {
		return nil
	}
	d.must(err)
	return append([]byte{}, data...)
}

// rounds is how many cuts a row of the table is tried with: by chance, each outcome comes many times.
const rounds = 30

// TestTable tries each row of the package's table: without the sync a cut sometimes leaves the one and sometimes the
// other, with it always the same.
func TestTable(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 10_000)
	for _, row := range []struct {
		name       string
		set, do    func(d *disk)
		durable    func(d *disk)
		happened   func(d *disk) bool
		disallowed func(d *disk) bool // never, synced or not
	}{
		{
			name:     "a write",
			set:      func(d *disk) { d.write("f", 0, make([]byte, 10_000), 0); d.sync("f") },
			do:       func(d *disk) { d.write("f", 0, long, 0) },
			durable:  func(d *disk) { d.sync("f") },
			happened: func(d *disk) bool { return bytes.Equal(d.read("f"), long) },
			disallowed: func(d *disk) bool {
				return len(d.read("f")) != 10_000 || len(bytes.Trim(d.read("f"), "x\x00")) > 0
			},
		},
		{
			name:       "a longer file",
			set:        func(d *disk) { d.write("f", 0, []byte("y"), 0); d.sync("f") },
			do:         func(d *disk) { d.write("f", 1, long, 0) },
			durable:    func(d *disk) { d.sync("f") },
			happened:   func(d *disk) bool { return len(d.read("f")) == 10_001 && bytes.Equal(d.read("f")[1:], long) },
			disallowed: func(d *disk) bool { return !bytes.HasPrefix(d.read("f"), []byte("y")) },
		},
		{
			name:     "a write by O_SYNC",
			set:      func(d *disk) { d.write("f", 0, []byte("y"), 0); d.sync("f") },
			do:       func(d *disk) { d.write("f", 1, long, 0) },
			durable:  func(d *disk) { d.write("f", 0, append([]byte("y"), long...), syscall.O_SYNC) },
			happened: func(d *disk) bool { return len(d.read("f")) == 10_001 && bytes.Equal(d.read("f")[1:], long) },
		},
		{
			name:       "a shorter file",
			set:        func(d *disk) { d.write("f", 0, long, 0); d.sync("f") },
			do:         func(d *disk) { d.must(os.Truncate(d.path("f"), 100)) },
			durable:    func(d *disk) { d.sync("f") },
			happened:   func(d *disk) bool { return len(d.read("f")) == 100 },
			disallowed: func(d *disk) bool { return !bytes.HasPrefix(long, d.read("f")) },
		},
		{
			name:     "a new file, by its own sync",
			do:       func(d *disk) { d.write("f", 0, nil, 0) },
			durable:  func(d *disk) { d.sync("f") },
			happened: func(d *disk) bool { return d.read("f") != nil },
		},
		{
			name:     "a new file, by its folder's sync",
			do:       func(d *disk) { d.write("f", 0, nil, 0) },
			durable:  func(d *disk) { d.sync(".") },
			happened: func(d *disk) bool { return d.read("f") != nil },
		},
		{
			name: "a new folder",
			do: func(d *disk) {
				d.must(os.Mkdir(d.path("dir"), 0o700))
				d.write("dir/f", 0, []byte("y"), 0)
				d.sync("dir/f")
			},
			durable:    func(d *disk) { d.sync(".") },
			happened:   func(d *disk) bool { return string(d.read("dir/f")) == "y" },
			disallowed: func(d *disk) bool { return d.there("dir") && string(d.read("dir/f")) != "y" },
		},
		{
			name: "a rename that replaces",
			set: func(d *disk) {
				d.write("f", 0, []byte("old"), 0)
				d.write("new", 0, []byte("new"), 0)
				d.sync("f")
				d.sync("new")
			},
			do:         func(d *disk) { d.must(os.Rename(d.path("new"), d.path("f"))) },
			durable:    func(d *disk) { d.sync(".") },
			happened:   func(d *disk) bool { return string(d.read("f")) == "new" && d.read("new") == nil },
			disallowed: func(d *disk) bool { return string(d.read("f")) != "new" && string(d.read("new")) != "new" },
		},
		{
			name: "a rename to another folder, by either sync",
			set: func(d *disk) {
				d.must(os.Mkdir(d.path("a"), 0o700))
				d.must(os.Mkdir(d.path("b"), 0o700))
				d.write("a/f", 0, nil, 0)
				d.sync("a/f")
				d.sync(".")
			},
			do:         func(d *disk) { d.must(os.Rename(d.path("a/f"), d.path("b/f"))) },
			durable:    func(d *disk) { d.sync([]string{"a", "b"}[rand.IntN(2)]) },
			happened:   func(d *disk) bool { return d.there("b/f") },
			disallowed: func(d *disk) bool { return d.there("a/f") == d.there("b/f") },
		},
		{
			name:     "a removed file",
			set:      func(d *disk) { d.write("f", 0, []byte("y"), 0); d.sync("f") },
			do:       func(d *disk) { d.must(os.Remove(d.path("f"))) },
			durable:  func(d *disk) { d.sync(".") },
			happened: func(d *disk) bool { return !d.there("f") },
		},
		{
			name: "a removed folder",
			set: func(d *disk) {
				d.must(os.Mkdir(d.path("dir"), 0o700))
				d.write("dir/f", 0, []byte("y"), 0)
				d.sync("dir/f")
				d.sync(".")
			},
			do:         func(d *disk) { d.must(os.RemoveAll(d.path("dir"))) },
			durable:    func(d *disk) { d.sync(".") },
			happened:   func(d *disk) bool { return !d.there("dir") },
			disallowed: func(d *disk) bool { return d.there("dir/f") && string(d.read("dir/f")) != "y" },
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 2))
			for _, synced := range []bool{true, false} {
				happened := 0
				d := newDisk(t)
				for range rounds {
					d.empty()
					if row.set != nil {
						row.set(d)
					}
					d.sync(".")
					row.do(d)
					if synced {
						row.durable(d)
					}
					d.cut(random)
					if row.happened(d) {
						happened++
					}
					if row.disallowed != nil && row.disallowed(d) {
						t.Fatal("the cut has left what no cut may leave")
					}
				}
				if synced && happened != rounds {
					t.Errorf("synced, it was there after %d cuts of %d", happened, rounds)
				}
				if !synced && (happened == 0 || happened == rounds) {
					t.Errorf("not synced, it was there after %d cuts of %d: no chance in it", happened, rounds)
				}
			}
		})
	}
}

// there reports whether a name is there.
func (d *disk) there(name string) bool {
	d.t.Helper()
	_, err := os.Lstat(d.path(name))
	if err != nil && !os.IsNotExist(err) {
		d.t.Fatal(err)
	}
	return err == nil
}

// empty removes everything, durably.
func (d *disk) empty() {
	d.t.Helper()
	entries, err := os.ReadDir(d.dir)
	d.must(err)
	for _, e := range entries {
		d.must(os.RemoveAll(d.path(e.Name())))
	}
	d.sync(".")
}

// TestNothingIsWrittenWithoutPower holds files open over a cut.
func TestNothingIsWrittenWithoutPower(t *testing.T) {
	d := newDisk(t)
	d.write("f", 0, []byte("before"), syscall.O_SYNC)
	f, err := os.OpenFile(d.path("f"), os.O_RDWR, 0)
	d.must(err)
	d.Cut()
	_, wrote := f.WriteAt([]byte("after!"), 0)
	for what, err := range map[string]error{
		"write": wrote, "sync": f.Sync(), "truncate": f.Truncate(1), "make": os.Mkdir(d.path("dir"), 0o700),
		"rename": os.Rename(d.path("f"), d.path("g")), "remove": os.Remove(d.path("f")),
	} {
		if err == nil {
			t.Errorf("%s is answered without power", what)
		}
	}
	_ = f.Close()
	d.cut(rand.New(rand.NewPCG(1, 2)))
	if got := d.read("f"); string(got) != "before" {
		t.Errorf("the file holds %q", got)
	}
}

// TestLyingDiskLosesWhatWasSynced holds that Lie does what it says, also to O_SYNC and folders.
func TestLyingDiskLosesWhatWasSynced(t *testing.T) {
	d := newDisk(t)
	d.write("f", 0, []byte("before"), syscall.O_SYNC)
	d.Lie()
	d.write("f", 0, []byte("after!"), syscall.O_SYNC)
	d.write("g", 0, []byte("after!"), 0)
	d.sync("f")
	d.sync("g")
	d.sync(".")
	d.cut(rand.New(rand.NewPCG(1, 2)))
	if got := d.read("f"); string(got) != "before" || d.there("g") {
		t.Errorf("the file holds %q, the new one is there: %t", got, d.there("g"))
	}
}

// TestContentsAreFreed writes, syncs and removes files, and looks at what is left of their contents.
func TestContentsAreFreed(t *testing.T) {
	d := newDisk(t)
	for range 10 {
		d.write("f", 0, []byte("y"), syscall.O_SYNC)
		d.must(os.Rename(d.path("f"), d.path("g")))
		d.sync(".")
	}
	d.must(os.Remove(d.path("g")))
	d.sync(".")
	d.must(d.Unmount())
	for _, side := range []string{seenSide, keptSide} {
		entries, err := fs.ReadDir(os.DirFS(d.Disk.dir), side)
		d.must(err)
		if len(entries) > 1 { // the last one's descriptor may be closed after all else
			t.Errorf("%d contents are left in %s", len(entries), side)
		}
	}
	d.must(d.Mount(d.dir))
}
