// Package durable makes folders and small files that survive a power cut. POSIX keeps a new name, a rename or a removal
// only once the folder that holds the name is synced; a file's own sync does not do that for the folders above it.
//
// Its one invariant: what a function here was asked for is on disk when it returns nil.
package durable

import (
	"fmt"
	"os"
	"path/filepath"
)

// Mkdir makes a folder and those above it that are not there, or finds it made.
func Mkdir(path string, mode os.FileMode) error {
	path = filepath.Clean(path)
	parents := []string{filepath.Dir(path)} // also of one that is there: whoever made it may have been killed before it synced
	for missing(parents[0]) {
		parents = append([]string{filepath.Dir(parents[0])}, parents...)
	}
	if err := os.MkdirAll(path, mode); err != nil {
		return err
	}
	return Sync(parents...)
}

func missing(path string) bool {
	_, err := os.Stat(path)
	return os.IsNotExist(err) && filepath.Dir(path) != path
}

// WriteFile replaces the file at path, readable by its owner alone: after a power cut there is either the old one or the
// new one, whole.
func WriteFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(f.Name()) //nolint:errcheck // it is gone when the rename succeeded
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return Sync(filepath.Dir(path))
}

// Sync makes the names in folders survive: what was made, renamed or removed in them.
func Sync(folders ...string) error {
	for _, path := range folders {
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("sync folder: %w", err)
		}
		err = f.Sync()
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return fmt.Errorf("sync folder %s: %w", path, err)
		}
	}
	return nil
}
