// Package mailtest runs a real mail server for tests: Debian's exim4, as a process of the test's own with a configuration
// and folders of the test's, which takes mail by STARTTLS from whoever signs in and keeps each message as a file.
package mailtest

import (
	"bytes"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"

	"berth/internal/certs"
	"berth/internal/testport"
)

// program is where Debian has the server (exim4-daemon-light).
const program = "/usr/sbin/exim4"

// What signs in.
const (
	account  = "reports@example.com"
	password = "se cret/€" //nolint:gosec // it opens the test's own server
)

// Server is a mail server that runs until the test ends.
type Server struct {
	t        testing.TB
	dir      string
	Address  string // host:port
	Settings []byte // as provisioner serve --mail reads them
}

// config has the server stand on nothing outside its folder.
var config = template.Must(template.New("exim").Parse(`
primary_hostname = localhost
spool_directory = {{.Dir}}/spool
log_file_path = {{.Dir}}/%slog
pid_file_path = {{.Dir}}/pid
exim_user = {{.User}}
exim_group = {{.Group}}
never_users =
keep_environment =
host_lookup =
rfc1413_query_timeout = 0s
timezone = UTC
tls_advertise_hosts = *
tls_certificate = {{.Dir}}/cert.pem
tls_privatekey = {{.Dir}}/key.pem
auth_advertise_hosts = ${if eq{$tls_in_cipher}{}{}{*}}
acl_smtp_rcpt = rcpt
message_size_limit = 40M
smtp_accept_queue_per_connection = 0
begin acl
rcpt:
  deny message = there is nobody here of that name
       local_parts = nobody
  accept authenticated = *
  deny message = sign in first
begin routers
all:
  driver = accept
  transport = box
begin transports
box:
  driver = appendfile
  directory = {{.Dir}}/box
  create_directory
  maildir_format
  envelope_to_add
  user = {{.User}}
  group = {{.Group}}
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${if and{ {eq{$auth2}{{"{"}}{{.Account}}{{"}"}}} {eq{$auth3}{{"{"}}{{.Password}}{{"}"}}} }}
  server_set_id = $auth2
`))

// Start runs a server. The test is skipped where there is none.
func Start(t testing.TB) *Server {
	t.Helper()
	if _, err := os.Stat(program); err != nil {
		t.Skip("a real mail server is not installed: apt-get install exim4-daemon-light")
	}
	s := &Server{t: t, dir: t.TempDir(), Address: testport.Address(t)}
	authority := s.certify()
	s.configure()
	out, err := os.Create(filepath.Join(s.dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-bdf", "-q1h", "-C", filepath.Join(s.dir, "conf"), "-oX", "<; "+strings.Replace(s.Address, ":", ".", 1))
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // with those that deliver
		_ = cmd.Wait()
		_ = out.Close()
		if t.Failed() {
			t.Logf("the mail server says:\n%s", s.Said())
		}
	})
	at := url.URL{Scheme: "smtp", User: url.UserPassword(account, password), Host: s.Address, RawQuery: "from=" + account}
	s.Settings = []byte(at.String() + "\n" + string(authority))
	s.until("it answers", func() bool {
		c, err := (&net.Dialer{Timeout: time.Second}).DialContext(t.Context(), "tcp", s.Address)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return s
}

// certify makes the server's certificate and returns whom to trust.
func (s *Server) certify() (authority []byte) {
	s.t.Helper()
	a, err := certs.Open(filepath.Join(s.dir, "ca.json"), "test")
	if err != nil {
		s.t.Fatal(err)
	}
	cert, key, err := a.Sign(&certs.Wish{Name: "localhost", Hosts: []string{"127.0.0.1"}, Usages: []certs.Usage{certs.Server}, Until: time.Now().Add(time.Hour)})
	if err != nil {
		s.t.Fatal(err)
	}
	s.write("cert.pem", cert)
	s.write("key.pem", key)
	return a.CA()
}

func (s *Server) configure() {
	s.t.Helper()
	u, err := user.Current()
	if err != nil {
		s.t.Fatal(err)
	}
	if u.Uid == "0" { // it delivers nothing as root
		if u, err = user.Lookup("Debian-exim"); err != nil {
			s.t.Fatal(err)
		}
		for _, dir := range []string{filepath.Dir(s.dir), s.dir} {
			if err := os.Chmod(dir, 0o711); err != nil {
				s.t.Fatal(err)
			}
		}
		if out, err := exec.CommandContext(s.t.Context(), "chown", "-R", u.Uid+":"+u.Gid, s.dir).CombinedOutput(); err != nil {
			s.t.Fatalf("%v: %s", err, out)
		}
	}
	var b bytes.Buffer
	if err := config.Execute(&b, map[string]string{"Dir": s.dir, "User": u.Uid, "Group": u.Gid, "Account": account, "Password": password}); err != nil {
		s.t.Fatal(err)
	}
	s.write("conf", b.Bytes())
	if err := os.Chmod(filepath.Join(s.dir, "conf"), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *Server) write(name string, data []byte) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), data, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *Server) until(what string, done func() bool) {
	s.t.Helper()
	tick, end := time.NewTicker(20*time.Millisecond), time.After(time.Minute)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-end:
			s.t.Fatalf("waited in vain until %s; the mail server says:\n%s", what, s.Said())
		}
	}
}

// Said returns what the server wrote into its logs.
func (s *Server) Said() string {
	var b strings.Builder
	for _, name := range []string{"out", "mainlog", "paniclog", "rejectlog"} {
		text, _ := os.ReadFile(filepath.Join(s.dir, name))
		b.Write(text)
	}
	return b.String()
}

// Taken returns how many messages the server has answered for, delivered or not.
func (s *Server) Taken() int {
	text, _ := os.ReadFile(filepath.Join(s.dir, "mainlog"))
	return bytes.Count(text, []byte(" <= "))
}

// Letters returns all messages that were taken, once they are delivered.
func (s *Server) Letters() []Letter {
	s.t.Helper()
	var files []string
	s.until("all mail is delivered", func() bool {
		files, _ = filepath.Glob(filepath.Join(s.dir, "box/new/*"))
		return len(files) == s.Taken()
	})
	letters := make([]Letter, 0, len(files))
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil {
			s.t.Fatal(err)
		}
		l, err := open(raw)
		if err != nil {
			s.t.Fatalf("open a letter: %v\n%s", err, raw)
		}
		letters = append(letters, l)
	}
	return letters
}
