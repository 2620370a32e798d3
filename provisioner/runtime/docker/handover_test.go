package docker

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"berth/provisioner/runtime"
)

// An instance may do in its folder what it likes while the folder is handed over: nothing outside of it changes its owner.
func TestHandingOverStaysInTheFolder(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root hands folders over")
	}
	dir := t.TempDir()
	folder, outside := filepath.Join(dir, "folder"), filepath.Join(dir, "outside")
	for _, d := range []string{folder, outside, filepath.Join(folder, "a")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 20 { // a while to walk through
		if err := os.WriteFile(filepath.Join(outside, string(rune('a'+n))), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(folder, "b")); err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				for _, names := range [][2]string{{"a", "c"}, {"b", "a"}, {"a", "b"}, {"c", "a"}} {
					_ = os.Rename(filepath.Join(folder, names[0]), filepath.Join(folder, names[1]))
				}
			}
		}
	}()
	r := &Runtime{o: Options{User: "65532:65532"}}
	for until := time.Now().Add(300 * time.Millisecond); time.Now().Before(until); {
		_ = r.handOver(runtime.Spec{Folders: map[string]string{"/folders/a": folder}}) // what changes under it may be missed
	}
	close(stop)
	<-done
	var s syscall.Stat_t
	err := r.handOver(runtime.Spec{Folders: map[string]string{"/folders/a": folder}})
	if e := syscall.Stat(filepath.Join(folder, "a"), &s); err != nil || e != nil || s.Uid != 65532 {
		t.Errorf("what is within belongs to %d: %v, %v", s.Uid, err, e)
	}
	all, err := filepath.Glob(filepath.Join(outside, "*"))
	if err != nil || len(all) != 20 {
		t.Fatal(all, err)
	}
	for _, path := range append(all, outside) {
		if err := syscall.Lstat(path, &s); err != nil || s.Uid != 0 {
			t.Fatalf("%s belongs to %d, %v", path, s.Uid, err)
		}
	}
}
