// Package mosquittotest runs a real mosquitto for tests: killed, restarted at the same port with what it had saved, with TLS,
// passwords and refused subscriptions.
//
// A test is skipped where mosquitto is not installed; .ci/run installs it.
package mosquittotest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/internal/certs"
	"berth/internal/testport"
)

// Options say what a broker is like. The zero value is one that anybody may use.
type Options struct {
	TLS       bool              // with a certificate of its own authority
	Users     map[string]string // with their passwords; nobody else is let in
	Refuse    string            // a filter that nobody may subscribe to
	InFlight  int               // messages that a client may have unacknowledged; 0: any number
	CleanDisk bool              // it keeps nothing over a restart
}

// Broker is a mosquitto.
type Broker struct {
	URL  string // to give to a source
	Host string
	Port string
	CA   string // file with whom to trust; empty: no TLS

	t       testing.TB
	dir     string
	command *exec.Cmd
	said    *bytes.Buffer
}

// Start starts a broker; it ends with the test.
func Start(t testing.TB, o Options) *Broker {
	t.Helper()
	program := find("mosquitto", "/usr/sbin/mosquitto")
	if program == "" {
		t.Skip("mosquitto is not installed: apt install mosquitto")
	}
	b := &Broker{t: t, dir: t.TempDir()}
	b.Host, b.Port, _ = net.SplitHostPort(testport.Address(t)) // it has both
	b.URL = "tcp://" + net.JoinHostPort(b.Host, b.Port)
	lines := []string{
		"listener " + b.Port + " " + b.Host, "persistence " + strconv.FormatBool(!o.CleanDisk), "persistence_location " + b.dir + "/",
		"autosave_interval 3600", "max_inflight_messages " + strconv.Itoa(o.InFlight), "max_queued_messages 0", "set_tcp_nodelay true",
		"allow_anonymous " + strconv.FormatBool(len(o.Users) == 0 && o.Refuse == ""),
	}
	if os.Getuid() == 0 {
		lines = append(lines, "user root") // its folders are the test's
	}
	if o.TLS {
		lines = append(lines, b.certify()...)
	}
	if o.Refuse != "" {
		lines = append(lines, b.restrict(&o)...)
	} else if len(o.Users) > 0 {
		lines = append(lines, b.passwords(o.Users))
	}
	b.write("mosquitto.conf", strings.Join(lines, "\n")+"\n")
	b.Run()
	t.Cleanup(b.Kill)
	return b
}

// find returns where a program is; it is not in everybody's PATH.
func find(name, otherwise string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	if _, err := os.Stat(otherwise); err == nil {
		return otherwise
	}
	return ""
}

func (b *Broker) write(name, text string) string {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return path
}

// certify returns the lines that give the broker a certificate.
func (b *Broker) certify() []string {
	b.t.Helper()
	authority, err := certs.Open(filepath.Join(b.dir, "authority.json"), "the broker's authority")
	if err != nil {
		b.t.Fatal(err)
	}
	cert, key, err := authority.Sign(&certs.Wish{
		Name: "broker", Hosts: []string{b.Host}, Usages: []certs.Usage{certs.Server}, Until: time.Now().Add(time.Hour),
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.CA = b.write("ca.pem", string(authority.CA()))
	b.URL = "tls://" + net.JoinHostPort(b.Host, b.Port)
	return []string{"certfile " + b.write("cert.pem", string(cert)), "keyfile " + b.write("key.pem", string(key))}
}

// passwords returns the line that asks for passwords.
func (b *Broker) passwords(users map[string]string) string {
	b.t.Helper()
	program := find("mosquitto_passwd", "/usr/bin/mosquitto_passwd")
	path := b.write("passwords", "")
	for user, password := range users {
		if out, err := exec.CommandContext(b.t.Context(), program, "-b", path, user, password).CombinedOutput(); err != nil {
			b.t.Fatalf("%v: %s", err, out)
		}
	}
	return "password_file " + path
}

// restrict returns the lines of a broker that refuses a subscription: only its plugin does, which knows its own users.
func (b *Broker) restrict(o *Options) []string {
	b.t.Helper()
	plugin, _ := filepath.Glob("/usr/lib/*/mosquitto_dynamic_security.so") // the pattern is good
	if len(plugin) == 0 {
		b.t.Skip("mosquitto's plugin for roles is not installed")
	}
	type allow struct {
		Type  string `json:"acltype"`
		Topic string `json:"topic"`
		Allow bool   `json:"allow"`
	}
	type named map[string]any
	config, err := json.Marshal(named{
		"defaultACLAccess": named{"publishClientSend": true, "publishClientReceive": true, "subscribe": true, "unsubscribe": true},
		"roles":            []named{{"rolename": "restricted", "acls": []allow{{"subscribeLiteral", o.Refuse, false}}}},
		"groups":           []named{{"groupname": "everybody", "roles": []named{{"rolename": "restricted"}}}},
		"anonymousGroup":   "everybody",
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return []string{"allow_anonymous true", "plugin " + plugin[0], "plugin_opt_config_file " + b.write("roles.json", string(config))}
}

// Run starts the broker, with what it has saved.
func (b *Broker) Run() {
	b.t.Helper()
	b.said = &bytes.Buffer{}
	b.command = exec.CommandContext(context.WithoutCancel(b.t.Context()), find("mosquitto", "/usr/sbin/mosquitto"), "-c", filepath.Join(b.dir, "mosquitto.conf"))
	b.command.Stdout, b.command.Stderr = b.said, b.said
	if err := b.command.Start(); err != nil {
		b.t.Fatal(err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 6000 {
		var dialer net.Dialer
		if c, err := dialer.DialContext(b.t.Context(), "tcp", net.JoinHostPort(b.Host, b.Port)); err == nil {
			_ = c.Close()
			return
		}
		<-tick.C
	}
	b.Kill()
	b.t.Fatalf("mosquitto does not listen: %s", b.said)
}

// Kill kills the broker by SIGKILL. It may be called more than once.
func (b *Broker) Kill() {
	if b.command == nil {
		return
	}
	_ = b.command.Process.Kill()
	_ = b.command.Wait()
	b.command = nil
}

// Save has the broker save all that it holds, and waits until it has: what it has acknowledged before is on disk then.
func (b *Broker) Save() {
	b.t.Helper()
	path := filepath.Join(b.dir, "mosquitto.db")
	before := saved(path)
	if err := b.command.Process.Signal(syscall.SIGUSR1); err != nil {
		b.t.Fatal(err)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 12000 {
		if after := saved(path); after != 0 && after != before {
			return
		}
		<-tick.C
	}
	b.t.Fatal("mosquitto does not save what it holds")
}

// saved returns which file it is: the broker puts a new one in its place. 0: there is none.
func saved(path string) uint64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Ino ^ uint64(info.ModTime().UnixNano())
	}
	return uint64(info.ModTime().UnixNano())
}

// Publish publishes one message by mosquitto_pub, with further arguments of that.
func (b *Broker) Publish(ctx context.Context, topic, payload string, more ...string) error {
	args := append([]string{"-h", b.Host, "-p", b.Port, "-q", "1", "-t", topic, "-m", payload}, more...)
	if b.CA != "" {
		args = append(args, "--cafile", b.CA)
	}
	if out, err := exec.CommandContext(ctx, "mosquitto_pub", args...).CombinedOutput(); err != nil {
		return errors.Join(err, errors.New(string(out)))
	}
	return nil
}
