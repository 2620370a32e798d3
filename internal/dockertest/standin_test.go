package dockertest_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"berth/internal/dockertest"
)

// Public images cannot be had everywhere, so the test makes stand-ins under their names: the same server, of Go's module
// and of Maven's jars, told the same by compose.yaml. What differs is said in the override file below.

// standInNATS builds an image of nats-server, and of a wget for its health check.
func standInNATS(t *testing.T, e *dockertest.Engine, name string) {
	t.Helper()
	dir := t.TempDir()
	for program, source := range map[string]string{
		"nats-server": "github.com/nats-io/nats-server/v2", "wget": "berth/internal/dockertest/testdata/wget",
	} {
		build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, program), source)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	buildImage(t, e, name, dir, "FROM scratch\nCOPY nats-server wget /usr/local/bin/\n")
}

// standInCassandra builds an image that finds Java and its libraries in the machine's own folders, and the jars in the
// cache of docker/cassandra/node.
func standInCassandra(t *testing.T, e *dockertest.Engine, name string) {
	t.Helper()
	if _, err := exec.LookPath("java"); err != nil {
		t.Skip("it needs Cassandra: install Java 17 and Maven")
	}
	dir := t.TempDir()
	for link, to := range map[string]string{"lib": "usr/lib", "lib64": "usr/lib64", "bin": "usr/bin"} {
		if err := os.MkdirAll(filepath.Join(dir, "root"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, filepath.Join(dir, "root", link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "own"), 0o755); err != nil {
		t.Fatal(err)
	}
	java := "#!/bin/bash\nexec java $JVM_EXTRA_OPTS -Dcassandra.settings.rpc_address=0.0.0.0" +
		" -Dcassandra.superuser_setup_delay_ms=0 -Dcassandra.settings.broadcast_rpc_address=$CASSANDRA_BROADCAST_RPC_ADDRESS \"$@\"\n"
	if err := os.WriteFile(filepath.Join(dir, "java17"), []byte(java), 0o755); err != nil {
		t.Fatal(err)
	}
	buildImage(t, e, name, dir, "FROM scratch\nCOPY root/ /\nCOPY java17 /java17\nCOPY --chown=999:999 own /tmp\n"+
		"COPY --chown=999:999 own /var/lib/cassandra\nCMD [\"/berth/docker/cassandra/node\", \"run\", \"/var/lib/cassandra/node\"]\n")
}

// override is what compose is told beside compose.yaml; engine is the folder of the engine's socket.
func override(t *testing.T, engine string) string {
	t.Helper()
	jars, err := exec.CommandContext(t.Context(), filepath.Join(dockertest.Root(), "docker", "cassandra", "node"), "fetch").Output()
	if err != nil {
		t.Skipf("Cassandra's jars cannot be had: %v", err)
	}
	root, err := filepath.Abs(dockertest.Root())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "override.yaml")
	// Not every machine that runs tests lets anybody raise its limits.
	text := strings.NewReplacer("JARS", strings.TrimSpace(string(jars)), "ROOT", root, "ENGINE", engine, "ADDRESS", stackNet+".0.3",
		"FILES", limit(t, syscall.RLIMIT_NOFILE), "LOCKED", limit(t, rlimitMemlock)).Replace(`
services:
  nats: {ulimits: {nofile: FILES}}
  provisioner:
    ulimits: {nofile: FILES}
    volumes: [ENGINE/docker.sock:/var/run/docker.sock]
  cassandra:
    ulimits: {nofile: FILES, memlock: LOCKED}
    environment: {CASSANDRA_BROADCAST_RPC_ADDRESS: ADDRESS, LISTEN: cassandra, CQL_PORT: "9042", STORAGE_PORT: "7000", HEAP: 512m, SYNC: 1000ms, JAVA: /java17, CASSANDRA_CACHE: /jars}
    volumes:
      - /usr:/usr:ro
      - /etc/java-17-openjdk:/etc/java-17-openjdk:ro
      - /etc/alternatives:/etc/alternatives:ro
      - JARS:/jars:ro
      - ROOT/docker/cassandra:/berth/docker/cassandra:ro
`)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const rlimitMemlock = 8 // of Linux

// limit returns the limit that this process has, at most 65536.
func limit(t *testing.T, what int) string {
	t.Helper()
	var l syscall.Rlimit
	if err := syscall.Getrlimit(what, &l); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(min(l.Max, 65536))
}

// buildImage builds an image from a folder.
func buildImage(t *testing.T, e *dockertest.Engine, name, dir, dockerfile string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o600); err != nil {
		t.Fatal(err)
	}
	e.Must(t, "build", "-q", "-t", name, dir)
}

// compose runs compose on docker/compose.yaml and the override.
func compose(t *testing.T, e *dockertest.Engine, program, files, env []string, args ...string) (string, error) {
	t.Helper()
	all := append([]string{}, program[1:]...)
	for _, file := range files {
		all = append(all, "-f", file)
	}
	cmd := exec.CommandContext(t.Context(), program[0], append(all, args...)...)
	cmd.Env = append(append(os.Environ(), "DOCKER_HOST="+e.Address), env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}
