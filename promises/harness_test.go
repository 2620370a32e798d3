package promises

import (
	"context"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"berth/internal/dockertest"
	"berth/promises/install"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if *seed == 0 {
		*seed = rand.Uint64()
	}
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
	in := newStopped(t, dir, data)
	in.Keyspaces, in.Flags = keyspaces, flags
	begin(t, in)
	return in
}

// newStopped returns an installation that is not started, with its log in dir and its data in another folder.
func newStopped(t *testing.T, dir, data string) *install.Install {
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
	return in
}

// begin starts an installation, which ends with the test, and returns its sign-in link.
func begin(t *testing.T, in *install.Install) (link string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), recovery)
	defer cancel()
	link, err := in.Start(ctx)
	t.Cleanup(in.Stop)
	if err != nil {
		t.Fatalf("%v; what it said ends\n%s", err, said(in))
	}
	return link
}

// said returns the end of what an installation has said.
func said(in *install.Install) string {
	log, ok := in.Log.(*os.File)
	if !ok {
		return ""
	}
	text, _ := os.ReadFile(log.Name())
	return string(text[max(0, len(text)-4000):])
}
