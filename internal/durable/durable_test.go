package durable

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMkdir(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "c")
	for range 2 {
		if err := Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		t.Errorf("the folder is %v, %v", info, err)
	}
	file := filepath.Join(path, "file")
	if err := WriteFile(file, nil); err != nil {
		t.Fatal(err)
	}
	if err := Mkdir(filepath.Join(file, "d"), 0o700); err == nil {
		t.Error("a folder is made in a file")
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for _, text := range []string{"one", "another"} {
		if err := WriteFile(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != text {
			t.Errorf("the file holds %q, %v, want %q", got, err, text)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
	if err := WriteFile(filepath.Join(dir, "none", "file"), nil); err == nil {
		t.Error("a file is written into a folder that is not there")
	}
}

func TestSync(t *testing.T) {
	dir := t.TempDir()
	if err := Sync(dir, filepath.Dir(dir)); err != nil {
		t.Error(err)
	}
	if err := Sync(filepath.Join(dir, "none")); err == nil {
		t.Error("a folder that is not there is synced")
	}
}
