package dockertest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gocql/gocql"

	"berth/internal/dockertest"
)

// stack is an installation of docker/compose.yaml in an engine of the test's own.
type stack struct {
	*dockertest.Engine
	program, files, env []string
}

// Ports and addresses of the stack. They lie below those that the system gives away.
const (
	stackNet  = "10.198"
	stackBase = 24600
)

// newStack starts docker/compose.yaml, as its README says, with stand-ins for the public images.
func newStack(t *testing.T) *stack {
	t.Helper()
	s := &stack{program: composeProgram(t), Engine: dockertest.Started(t)}
	const version = "v0-stack"
	s.Images(t, "", version)
	_, c := readCompose(t)
	standInNATS(t, s.Engine, c.Services["nats"].Image)
	standInCassandra(t, s.Engine, c.Services["cassandra"].Image)
	secrets := t.TempDir()
	if err := os.Chmod(secrets, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(secrets, "cassandra_password"), []byte("password-of-the-test\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.files = []string{filepath.Join(dockertest.Root(), "docker", "compose.yaml"), override(t, s.Dir)}
	s.env = []string{
		"COMPOSE_PROJECT_NAME=berthtest", "BERTH_VERSION=" + version, "DOCKER_GID=" + groupOf(t, filepath.Join(s.Dir, "docker.sock")), "BERTH_NET=" + stackNet, "BERTH_SECRETS=" + secrets,
		fmt.Sprint("BERTH_PORT_BASE=", stackBase), fmt.Sprint("BERTH_WEB=127.0.0.1:", stackBase), fmt.Sprint("BERTH_METRICS=127.0.0.1:", stackBase-1),
	}
	s.compose(t, "up", "-d", "cassandra")
	s.makeRole(t)
	s.compose(t, "up", "-d")
	return s
}

// groupOf returns the group of a file.
func groupOf(t *testing.T, path string) string {
	t.Helper()
	var stat syscall.Stat_t
	if err := syscall.Stat(path, &stat); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(stat.Gid)
}

func (s *stack) compose(t *testing.T, args ...string) string {
	t.Helper()
	out, err := compose(t, s.Engine, s.program, s.files, s.env, args...)
	if err != nil {
		t.Fatalf("compose %s: %v\n%s\n%s", strings.Join(args, " "), err, out, s.Must(t, "ps", "-a"))
	}
	return out
}

// makeRole does with the driver what README does with cqlsh.
func (s *stack) makeRole(t *testing.T) {
	t.Helper()
	cluster := gocql.NewCluster(stackNet + ".0.3")
	cluster.Authenticator = gocql.PasswordAuthenticator{Username: "cassandra", Password: "cassandra"}
	cluster.Timeout, cluster.ConnectTimeout = 10*time.Second, 10*time.Second
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		session, err := cluster.CreateSession()
		if err == nil {
			err = session.Query("CREATE ROLE berth WITH LOGIN = true AND SUPERUSER = true AND PASSWORD = 'password-of-the-test'").WithContext(ctx).Exec()
			session.Close()
		}
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the role cannot be made: %v\n%s", err, s.compose(t, "logs", "--tail", "30", "cassandra"))
		}
	}
}

// provisioner runs the command line in the provisioner's container and reads what it prints. The daemon may still be
// starting.
func (s *stack) provisioner(t *testing.T, answer any, args ...string) {
	t.Helper()
	id := s.id(t)
	var last error
	until(t, s.Engine, id, func() bool {
		var out string
		out, last = s.Do(t.Context(), append(append([]string{"exec", id, "/provisioner"}, args...), "-o", "json")...)
		if last == nil {
			last = json.Unmarshal([]byte(out), answer)
		}
		return last == nil
	})
}

// id returns the provisioner's container.
func (s *stack) id(t *testing.T) string {
	t.Helper()
	return s.Must(t, "ps", "-q", "--filter", "label=com.docker.compose.service=provisioner")
}

// TestStack: an installation of compose.yaml, of the images that make images builds, takes, keeps and shows readings; web and
// the pipelines run as containers that get healthy; whatever is killed comes back, and what was acknowledged is there.
func TestStack(t *testing.T) {
	s := newStack(t)
	var provider struct {
		Port int    `json:"port"`
		Key  string `json:"enrolment_key"`
	}
	s.provisioner(t, &provider, "add", "provider1")
	send(t, provider.Port, provider.Key, "boiler temperature=21.5")
	for _, name := range []string{"web", "provider1-ingest", "provider1-reports"} {
		until(t, s.Engine, s.id(t), func() bool {
			return s.Must(t, "ps", "--filter", "label=berth.name="+name, "--filter", "health=healthy", "-q") != ""
		})
	}
	var token struct {
		Token string `json:"token"`
	}
	s.provisioner(t, &token, "token", "create", "provider1", "--name", "test")
	latest := fmt.Sprintf("http://127.0.0.1:%d/api/v1/providers/provider1/gateways/gw1/latest", stackBase)
	if said := get(t, latest, token.Token); !strings.Contains(said, "21.5") {
		t.Errorf("web says %s", said)
	}
	for line := range strings.SplitSeq(s.Must(t, "exec", s.id(t), "/provisioner", "doctor"), "\n") {
		if strings.HasPrefix(line, "warn") && !strings.HasPrefix(line, "warn  clock") || strings.HasPrefix(line, "fail") {
			t.Errorf("the doctor says %s", line)
		}
	}
	for container := range strings.FieldsSeq(s.Must(t, "ps", "-aq", "--filter", "label=berth.install")) {
		isGuarded(t, s.Engine, container)
	}
	keepsWhatItAcknowledged(t, s, fmt.Sprint("127.0.0.1:", provider.Port), provider.Key, token.Token)
}

// isGuarded checks what a container that the provisioner made may do.
func isGuarded(t *testing.T, e *dockertest.Engine, container string) {
	t.Helper()
	const format = "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}} {{.HostConfig.Memory | lt 0}} {{.Config.User}}"
	if said := e.Must(t, "inspect", "--format", format, container); said != "true [ALL] [no-new-privileges] true 65532:65532" {
		t.Errorf("a container may do this: %s (%s)", said, e.Must(t, "inspect", "--format", "{{.Name}}", container))
	}
}

// send sends a frame and waits for its acknowledgement.
func send(t *testing.T, port int, key, line string) {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", fmt.Sprint("127.0.0.1:", port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = fmt.Fprintf(conn, "HELLO gw1 %s\nPUT 1 line %d\n%s", key, len(line), line)
	answers := bufio.NewScanner(conn)
	for _, want := range []string{"OK", "ACK 1"} {
		if !answers.Scan() || !strings.HasPrefix(answers.Text(), want) {
			t.Fatalf("the gateway is answered %q (%v), not %s", answers.Text(), answers.Err(), want)
		}
	}
}

// get asks the API.
func get(t *testing.T, url, token string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return resp.Status + " " + string(text)
}
