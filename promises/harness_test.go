package promises

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"berth/promises/install"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newInstall starts an installation that ends with the test, and returns the folder of its data and its log.
func newInstall(t *testing.T) (in *install.Install, dir string) {
	t.Helper()
	if _, err := os.Stat("../web/assets/dist"); err != nil {
		t.Fatal("the pages are not built: run `make build` first")
	}
	bin, dir := t.TempDir(), t.TempDir()
	if err := install.Build(t.Context(), bin); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "serve.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	in, err = install.New(t.Context(), bin, filepath.Join(dir, "var"), log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), recovery)
	defer cancel()
	if _, err := in.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.Stop)
	return in, dir
}
