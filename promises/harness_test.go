package promises

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"berth/internal/dockertest"
	"berth/promises/install"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(programs.dir)
		dockertest.Stop()
		os.Exit(code)
	}))
}

// programs are the programs, built once for all tests.
var programs struct {
	once sync.Once
	dir  string
	err  error
}

// build returns the folder of the programs, built from this source.
func build(t *testing.T) string {
	t.Helper()
	programs.once.Do(func() {
		if programs.dir, programs.err = os.MkdirTemp("", "berth-promises-"); programs.err == nil { //nolint:usetesting // it outlives the test
			programs.err = install.Build(context.WithoutCancel(t.Context()), programs.dir)
		}
	})
	if programs.err != nil {
		t.Fatal(programs.err)
	}
	return programs.dir
}

// newInstall starts an installation that ends with the test, and returns the folder of its data and its log.
func newInstall(t *testing.T) (in *install.Install, dir string) {
	t.Helper()
	dir = t.TempDir()
	return newInstallAt(t, dir, filepath.Join(dir, "var")), dir
}

// newInstallAt starts an installation that ends with the test, with its log in dir and its data in another folder.
func newInstallAt(t *testing.T, dir, data string) *install.Install {
	t.Helper()
	return newInstallOn(t, dir, data, "")
}

// newInstallOn is newInstallAt with its keyspaces at a URL, and more flags of serve.
func newInstallOn(t *testing.T, dir, data, keyspaces string, flags ...string) *install.Install {
	t.Helper()
	if _, err := os.Stat("../web/assets/dist"); err != nil {
		t.Fatal("the pages are not built: run `make build` first")
	}
	bin := build(t)
	log, err := os.Create(filepath.Join(dir, "serve.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	in, err := install.New(t.Context(), bin, data, log)
	if err != nil {
		t.Fatal(err)
	}
	in.Keyspaces, in.Flags = keyspaces, flags
	ctx, cancel := context.WithTimeout(t.Context(), recovery)
	defer cancel()
	if _, err := in.Start(ctx); err != nil {
		said, _ := os.ReadFile(log.Name())
		t.Fatalf("%v; what it said ends\n%s", err, said[max(0, len(said)-4000):])
	}
	t.Cleanup(in.Stop)
	return in
}
