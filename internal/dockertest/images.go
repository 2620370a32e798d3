package dockertest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Programs are those of which there is an image.
var Programs = []string{"provisioner", "ingest", "reports", "web", "fieldsim"}

// Images builds the images of this source in the engine, by docker/images, as berth/<program>:version, and returns what it
// printed. They are removed with the test. bin is a folder with the programs; empty: they are built.
func (e *Engine) Images(tb testing.TB, bin, version string) string {
	tb.Helper()
	if bin == "" {
		bin = tb.TempDir()
		build := exec.CommandContext(tb.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w -X berth/internal/version.Version="+version,
			"-o", bin+string(filepath.Separator), "berth/cmd/...")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			tb.Fatalf("build the programs: %v\n%s", err, out)
		}
	}
	cmd := exec.CommandContext(tb.Context(), filepath.Join(Root(), "docker", "images"), bin, version, "test")
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.Address)
	out, err := cmd.CombinedOutput()
	if err != nil {
		tb.Fatalf("docker/images: %v\n%s", err, out)
	}
	tb.Cleanup(func() {
		args := []string{"image", "rm", "-f"}
		for _, program := range Programs {
			args = append(args, "berth/"+program+":"+version)
		}
		if _, err := e.Do(context.WithoutCancel(tb.Context()), args...); err != nil {
			tb.Error(err)
		}
	})
	return string(out)
}
