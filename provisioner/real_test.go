package provisioner_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/internal/testport"
	"berth/provisioner/cli"
	"berth/provisioner/control"
)

// installation is the real programs, built from this tree.
type installation struct {
	bin, data string
	key       string // enrolment key of provider1
	base      int
	log       *os.File

	cmd  *exec.Cmd
	out  *bufio.Reader
	link string
}

func build(t *testing.T) *installation {
	t.Helper()
	i := &installation{bin: t.TempDir(), data: t.TempDir(), base: testport.Base(t, 5)}
	args := []string{"build", "-o", i.bin + string(filepath.Separator)}
	for _, program := range []string{"provisioner", "ingest", "reports", "web"} {
		args = append(args, "berth/cmd/"+program)
	}
	if out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	var err error
	if i.log, err = os.Create(filepath.Join(i.bin, "log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = i.log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(i.log.Name())
			logs, _ := filepath.Glob(filepath.Join(i.data, "logs", "*"))
			for _, path := range logs {
				more, _ := os.ReadFile(path)
				text = append(append(text, path+":\n"...), more...)
			}
			t.Logf("logs:\n%s", text)
		}
	})
	return i
}

// serve starts the daemon and waits for its sign-in link.
func (i *installation) serve(t *testing.T) {
	t.Helper()
	cmd := exec.Command(filepath.Join(i.bin, "provisioner"), "serve", "--data", i.data, "--web", "127.0.0.1:0", "--port-base", fmt.Sprint(i.base))
	cmd.Stderr = i.log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	i.cmd, i.out = cmd, bufio.NewReader(out)
	for {
		line, err := i.out.ReadString('\n')
		if err != nil {
			t.Fatalf("serve ended before it printed its link: %v", err)
		}
		if _, link, ok := strings.Cut(line, "sign in   "); ok {
			i.link = strings.Fields(link)[0]
		}
		if strings.HasPrefix(line, "  note") {
			t.Fatalf("serve is not well: %s", line)
		}
		if strings.HasPrefix(line, "Ctrl-C") {
			return
		}
	}
}

// run runs a command line, whose exit code must be as given, and reads its JSON into v, unless that is nil.
func (i *installation) run(t *testing.T, code int, v any, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(i.bin, "provisioner"), append(args, "-o", "json")...)
	cmd.Env = append(os.Environ(), "BERTH_DATA="+i.data)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != code {
		t.Fatalf("provisioner %v: %v, want exit code %d\n%s", args, err, code, errs.String())
	}
	if v == nil {
		return
	}
	if err := json.Unmarshal(out, v); err != nil {
		t.Fatalf("provisioner %v: %v\n%s", args, err, out)
	}
}

func (i *installation) pids(t *testing.T) []int {
	t.Helper()
	var p control.Provider
	i.run(t, 0, &p, "show", "provider1")
	var pids []int
	for _, instance := range p.Instances {
		pids = append(pids, instance.PID)
	}
	if len(pids) != 2 || pids[0] == 0 || pids[1] == 0 {
		t.Fatalf("instances %+v, want two that run", p.Instances)
	}
	return pids
}

// gone waits until the processes have ended.
func gone(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		until(t, fmt.Sprintf("process %d has ended", pid), func() bool {
			state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			return err != nil || strings.Contains(string(state), ") Z ")
		})
	}
}

// send sends lines to the provider's port and returns the first words of the answers.
func (i *installation) send(t *testing.T, text string) []string {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", i.base+1))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for line := range strings.Lines(string(answer)) {
		words = append(words, strings.Fields(line)[0])
	}
	return words
}

// gateways asks web's API.
func (i *installation) gateways(t *testing.T, token string) string {
	t.Helper()
	web, _, _ := strings.Cut(i.link, "/sign-in")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, web+"/api/v1/providers/provider1/gateways", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	return body(t, req)
}

func body(t *testing.T, req *http.Request) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return resp.Status + "\n" + string(text)
}

func put(gateway, key, payload string) string {
	return fmt.Sprintf("HELLO %s %s\nPUT 1 line %d\n%s", gateway, key, len(payload), payload)
}

// paste runs a line as who pastes it into a shell does, if what it calls is installed.
func (i *installation) paste(t *testing.T, line string) {
	t.Helper()
	program, _, _ := strings.Cut(line, " ")
	if _, err := exec.LookPath(program); err != nil {
		t.Logf("%s is not installed: nobody pastes %q", program, line)
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if said, err := exec.CommandContext(ctx, "sh", "-c", line).CombinedOutput(); err != nil || len(said) > 0 {
		t.Errorf("%s: %v, %s", line, err, said)
	}
}

// TestTheRealProgramsFromServeToPurge takes a newcomer's path with the programs as they are built, kills the daemon on
// the way, and stops it as Ctrl-C does.
func TestTheRealProgramsFromServeToPurge(t *testing.T) {
	i := build(t)
	i.serve(t)
	page, err := http.NewRequestWithContext(t.Context(), http.MethodGet, i.link, nil)
	if err != nil {
		t.Fatal(err)
	}
	if text := body(t, page); !strings.HasPrefix(text, "200") {
		t.Errorf("the sign-in link opens %s", text)
	}

	var added struct {
		control.Added
		FirstReadings struct{ MQTT, CoAP string } `json:"first_readings"`
	}
	i.run(t, 0, &added, "add", "provider1")
	if added.Port != i.base+1 || added.State != control.Ready || !added.Changed {
		t.Errorf("added %+v", added)
	}
	i.key = added.EnrolmentKey
	if got := i.send(t, put("gw1", added.EnrolmentKey, "boiler temperature=21.5")); fmt.Sprint(got) != "[OK ACK]" {
		t.Errorf("the first reading was answered %v", got)
	}
	i.paste(t, added.FirstReadings.MQTT)
	i.paste(t, added.FirstReadings.CoAP)
	if got := i.send(t, put("gw1", "bk_wrong", "boiler temperature=21.5")); len(got) == 0 || got[0] != "ERR" {
		t.Errorf("a wrong key was answered %v", got)
	}
	var token control.NewToken
	i.run(t, 0, &token, "token", "create", "provider1")
	until(t, "the API knows the gateway", func() bool { return strings.Contains(i.gateways(t, token.Token), `"gw1"`) })

	i.keysAreLiveAtOnce(t)
	i.run(t, cli.ExitUsage, nil, "set", "provider1", "--timezone", "Mars/Olympus")
	i.run(t, 0, nil, "restart", "provider1")

	pids := i.pids(t)
	if err := i.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = i.cmd.Wait()
	gone(t, pids)
	i.run(t, cli.ExitUnavailable, nil, "ls")

	i.serve(t)
	var again control.Added
	i.run(t, 0, &again, "add", "provider1")
	if again.Changed || again.Port != added.Port || again.EnrolmentKey != added.EnrolmentKey {
		t.Errorf("after the kill %+v, before %+v", again, added)
	}
	until(t, "the API still knows the gateway", func() bool { return strings.Contains(i.gateways(t, token.Token), `"gw1"`) })
	i.run(t, 0, nil, "rm", "provider1", "--yes", "--purge-data")
	for _, folder := range []string{"run", "logs"} {
		if left, _ := filepath.Glob(filepath.Join(i.data, folder, "provider1-*")); len(left) != 0 {
			t.Errorf("a purge left %v", left)
		}
	}
	if text := i.gateways(t, token.Token); strings.HasPrefix(text, "200") {
		t.Errorf("a token of a purged provider still opens %s", text)
	}

	i.run(t, 0, &added, "add", "provider2")
	i.stop(t)
	i.run(t, cli.ExitUnavailable, nil, "ls")
}

// keysAreLiveAtOnce uses keys and settings as soon as their commands have returned.
func (i *installation) keysAreLiveAtOnce(t *testing.T) {
	t.Helper()
	const reading = "boiler temperature=21.5"
	for n := range 5 {
		gateway := fmt.Sprintf("own%d", n)
		var first, second, revoked control.GatewayKey
		i.run(t, 0, &first, "gateway", "add", "provider1", gateway)
		if got := i.send(t, put(gateway, first.Key, reading)); fmt.Sprint(got) != "[OK ACK]" || !first.Live {
			t.Errorf("a new key was answered %v, said to be live %v", got, first.Live)
		}
		i.run(t, 0, &second, "gateway", "rotate", "provider1", gateway, "--overlap", "0")
		if got := i.send(t, put(gateway, first.Key, reading)); fmt.Sprint(got) != "[ERR]" {
			t.Errorf("a key that was rotated away was answered %v", got)
		}
		i.run(t, 0, &revoked, "gateway", "revoke", "provider1", gateway)
		if got := i.send(t, put(gateway, second.Key, reading)); fmt.Sprint(got) != "[ERR]" || !revoked.Live {
			t.Errorf("a revoked key was answered %v, said to be live %v", got, revoked.Live)
		}
		var set control.SettingsChanged
		tag := fmt.Sprintf("tag%d", n)
		i.run(t, 0, &set, "set", "provider1", "--gateway-tag", tag)
		if got := i.send(t, put("gw1", i.key, "boiler,"+tag+"=other temperature=21.5")); fmt.Sprint(got) != "[OK NAK]" || !set.Live {
			t.Errorf("another gateway's line by a tag that was just set was answered %v, said to be live %v", got, set.Live)
		}
	}
}

// stop stops the daemon as Ctrl-C does.
func (i *installation) stop(t *testing.T) {
	t.Helper()
	var p control.Provider
	i.run(t, 0, &p, "show", "provider2")
	if err := i.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = i.cmd.Process.Kill() })()
	rest, err := io.ReadAll(i.out)
	if err != nil || !strings.Contains(string(rest), "Stopped.") {
		t.Errorf("it printed %q, %v, want that it stopped", rest, err)
	}
	if err := i.cmd.Wait(); err != nil {
		t.Errorf("the daemon ended with %v", err)
	}
	for _, instance := range p.Instances {
		gone(t, []int{instance.PID})
	}
}
