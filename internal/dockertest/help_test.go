package dockertest_test

import (
	"archive/tar"
	"errors"
	"io"
	"iter"
	"os"
	"os/exec"
	"testing"

	"berth/internal/dockertest"
)

// tarNames returns the names in an archive.
func tarNames(t *testing.T, path string) iter.Seq[string] {
	t.Helper()
	return func(yield func(string) bool) {
		f, err := os.Open(path)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		for archive := tar.NewReader(f); ; {
			header, err := archive.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			if !yield(header.Name) {
				return
			}
		}
	}
}

// logs returns what a container wrote.
func logs(t *testing.T, e *dockertest.Engine, id string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "docker", "logs", "--tail", "20", id)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.Address)
	out, _ := cmd.CombinedOutput()
	return string(out)
}
