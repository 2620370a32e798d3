package service_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/internal/testport"
)

// TestHealth: an instance is healthy from its start on, also when there is no NATS; stopped or gone it is not, and its
// subcommand says so soon.
func TestHealth(t *testing.T) {
	ingest := filepath.Join(t.TempDir(), "ingest")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", ingest, "berth/cmd/ingest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	address := testport.Address(t)
	cmd := exec.CommandContext(t.Context(), ingest, "--health", address, "--instance", "i1", "--provider", "provider1",
		"--nats", "nats://"+testport.Address(t), "--keyspaces", "sqlite:"+t.TempDir(), "--credentials", os.DevNull)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })

	ask := func(env ...string) (int, string) {
		begun := time.Now()
		cmd := exec.CommandContext(t.Context(), ingest, "health")
		cmd.Env = append(os.Environ(), env...)
		out, err := cmd.CombinedOutput()
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("the answer took %s", took)
		}
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			return exit.ExitCode(), string(out)
		} else if err != nil {
			t.Fatal(err)
		}
		return 0, string(out)
	}
	told := "BERTH_HEALTH=" + address
	until(t, func() bool { code, _ := ask(told); return code == 0 })
	if code, said := ask(told); code != 0 || !strings.HasPrefix(said, "ingest i1 starts, since ") {
		t.Errorf("without NATS: exit code %d: %s", code, said)
	}
	if code, said := ask(); code != 1 || !strings.Contains(said, "--health") {
		t.Errorf("without an address: exit code %d: %s", code, said)
	}
	_ = cmd.Process.Signal(syscall.SIGSTOP)
	var state syscall.WaitStatus
	if _, err := syscall.Wait4(cmd.Process.Pid, &state, syscall.WUNTRACED, nil); err != nil || !state.Stopped() {
		t.Fatalf("it does not stop: %v, %v", state, err)
	}
	if code, said := ask(told); code != 1 || !strings.Contains(said, "hangs") {
		t.Errorf("stopped: exit code %d: %s", code, said)
	}
	_ = cmd.Process.Signal(syscall.SIGCONT)
	until(t, func() bool { code, _ := ask(told); return code == 0 })
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ends with %v", err)
	}
	if code, said := ask(told); code != 1 || !strings.Contains(said, "nothing answers at "+address) {
		t.Errorf("gone: exit code %d: %s", code, said)
	}
}

// until asks again until fn says true, a minute at most.
func until(t *testing.T, fn func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !fn() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("it took too long")
		}
	}
}
