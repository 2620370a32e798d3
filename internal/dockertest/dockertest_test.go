package dockertest_test

import (
	"os"
	"testing"

	"berth/internal/dockertest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	dockertest.Stop()
	os.Exit(code)
}

// TestAnEngineComesBack: an engine of a test's own is killed, and stopped in order, and has its images and containers
// again.
func TestAnEngineComesBack(t *testing.T) {
	e := dockertest.Started(t)
	empty := t.TempDir()
	if err := os.WriteFile(empty+"/Dockerfile", []byte("FROM scratch\nLABEL what=nothing\nCMD [\"/none\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	e.Must(t, "build", "-q", "-t", "berth-test-empty", empty)
	e.Must(t, "create", "--name", "berth-test-empty", "berth-test-empty")
	for name, end := range map[string]func(){"killed": func() { e.Kill() }, "stopped": func() { e.Stop() }} {
		end()
		if _, err := e.Do(t.Context(), "version"); err == nil {
			t.Fatalf("%s, it answers", name)
		}
		if err := e.Start(t.Context()); err != nil {
			t.Fatalf("%s, it does not come back: %v", name, err)
		}
		if names := e.Must(t, "ps", "-a", "--format", "{{.Names}}"); names != "berth-test-empty" {
			t.Errorf("%s, it has the containers %q", name, names)
		}
	}
}

// TestTheSharedEngineAnswers: the test run has one engine.
func TestTheSharedEngineAnswers(t *testing.T) {
	e := dockertest.Shared(t)
	if again := dockertest.Shared(t); again != e {
		t.Errorf("it is another engine the second time: %s, %s", e.Address, again.Address)
	}
	if version := e.Must(t, "version", "--format", "{{.Server.APIVersion}}"); version < "1.41" {
		t.Errorf("the engine's API is %s", version)
	}
}
