// Package install runs an installation of the real programs for the promises and the figures: built from this source,
// in a directory of its own, on free ports, driven through the command line as an operator drives it, and killed as a
// power cut or an OOM killer does.
//
// Its one invariant: it ends every process that it started, by its id.
package install

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"berth/internal/testport"
)

// Build builds the programs into dir.
func Build(ctx context.Context, dir string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags", "-s -w", "-o", dir+string(filepath.Separator), "berth/cmd/...")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return nil
}

// Install is one installation. It is for one goroutine, except where a method says otherwise.
type Install struct {
	Bin  string    // folder of the programs
	Data string    // folder of the data
	Web  string    // host:port of the web
	Base int       // the port base
	Log  io.Writer // what serve prints

	Metrics   string   // host:port of the metrics
	Keyspaces string   // URL of the keyspaces; empty: files in Data
	Flags     []string // more flags of serve

	said  said            // what serve printed lately
	ports *testport.Range // its own, as long as it is in use
	serve *exec.Cmd
	ended chan struct{} // closed when serve has ended
}

// providers is for how many providers an installation has ports.
const providers = 10

// New returns an installation on free ports that is not started. No other installation of a test has them.
func New(ctx context.Context, bin, data string, log io.Writer) (*Install, error) {
	return NewFor(ctx, bin, data, log, providers)
}

// NewFor is New with ports for so many providers.
func NewFor(ctx context.Context, bin, data string, log io.Writer, providers int) (*Install, error) {
	ports, err := testport.Take(ctx, providers+2)
	if err != nil {
		return nil, err
	}
	return &Install{
		Bin: bin, Data: data, Web: ports.Address(providers + 1), Metrics: ports.Address(providers + 2), Base: ports.Base, Log: log, ports: ports,
	}, nil
}

// Start starts the provisioner, which starts all else, and waits until it prints its sign-in link, which it returns.
func (i *Install) Start(ctx context.Context) (link string, err error) {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), filepath.Join(i.Bin, "provisioner"), "serve",
		"--data", i.Data, "--web", i.Web, "--metrics", i.Metrics, "--host", "127.0.0.1", "--port-base", strconv.Itoa(i.Base))
	if i.Keyspaces != "" {
		cmd.Args = append(cmd.Args, "--keyspaces", i.Keyspaces)
	}
	cmd.Args = append(cmd.Args, i.Flags...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	i.said.to = i.Log
	cmd.Stderr = &i.said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("start the provisioner: %w", err)
	}
	i.serve, i.ended = cmd, make(chan struct{})
	links := make(chan string, 1)
	var read sync.WaitGroup
	read.Go(func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			_, _ = fmt.Fprintln(&i.said, lines.Text())
			for word := range strings.FieldsSeq(lines.Text()) {
				if !strings.HasPrefix(word, "http") || !strings.Contains(word, "link=") {
					continue
				}
				select {
				case links <- word:
				default:
				}
			}
		}
	})
	go func() {
		read.Wait()
		_ = cmd.Wait() // how it ended is of no interest
		close(i.ended)
	}()
	select {
	case link := <-links:
		return link, nil
	case <-i.ended:
		return "", fmt.Errorf("start the provisioner: it ended: %s; it wrote last:\n%s", cmd.ProcessState, i.said.last())
	case <-ctx.Done():
		return "", fmt.Errorf("wait for the provisioner's sign-in link: %w", ctx.Err())
	}
}

// webWithin bounds how long the web is waited for once the provisioner has printed its sign-in link.
const webWithin = 30 * time.Second

// AwaitWeb waits until the web answers, for those who ask it as soon as the provisioner has started. When it does not, the error has
// what it wrote last, which says why: pages that were not built, say.
func (i *Install) AwaitWeb(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(ctx, webWithin)
	defer cancel()
	var last error
	err := until(waiting, func() bool {
		var conn net.Conn
		if conn, last = (&net.Dialer{}).DialContext(waiting, "tcp", i.Web); last == nil {
			last = conn.Close()
		}
		return last == nil
	})
	if err != nil {
		wrote, why := i.CLI(ctx, "logs", "web", "--lines", "5")
		return fmt.Errorf("the web does not answer at %s; it wrote last:\n%s%w", i.Web, wrote, errors.Join(err, last, why))
	}
	return nil
}

// Kill kills the provisioner by SIGKILL and waits until it has gone. Its children notice and go too.
func (i *Install) Kill() {
	_ = i.serve.Process.Kill()
	<-i.ended
}

// Stop stops the installation as Ctrl-C does, and kills it when that takes more than 30 s. It may be called twice.
func (i *Install) Stop() {
	if i.serve == nil {
		return
	}
	_ = i.serve.Process.Signal(syscall.SIGINT)
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	select {
	case <-i.ended:
	case <-limit.C:
		i.Kill()
	}
}

// PID returns the provisioner's process id.
func (i *Install) PID() int { return i.serve.Process.Pid }

// CLI runs the provisioner's command line and returns what it printed. It may be called concurrently.
func (i *Install) CLI(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(i.Bin, "provisioner"), append(args, "--data", i.Data)...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("provisioner %s: %w: %s", strings.Join(args, " "), err, errs.Bytes())
	}
	return out, nil
}

// ask runs the command line with -o json and decodes what it printed into v.
func (i *Install) ask(ctx context.Context, v any, args ...string) error {
	out, err := i.CLI(ctx, append(args, "-o", "json")...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, v); err != nil {
		return fmt.Errorf("read what provisioner %s printed: %w", strings.Join(args, " "), err)
	}
	return nil
}

// Provider is what `provisioner add` says of a provider.
type Provider struct {
	Name         string `json:"name"`
	Slot         int    `json:"slot"`
	Port         int    `json:"port"`
	EnrolmentKey string `json:"enrolment_key"`
	AdminURL     string `json:"admin_url"`
}

// Address returns the host:port of the provider.
func (p Provider) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.Port)) }

// Hello opens a connection of Berth frames that has said who it is, by the enrolment key.
func (p Provider) Hello(ctx context.Context, gateway string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", p.Address())
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(conn, "HELLO %s %s\n", gateway, p.EnrolmentKey); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if line, err := bufio.NewReaderSize(conn, 16).ReadString('\n'); err != nil || line != "OK\n" {
		return nil, errors.Join(fmt.Errorf("HELLO was answered %q", line), err, conn.Close())
	}
	return conn, nil
}

// Add adds a provider and returns when it takes readings.
func (i *Install) Add(ctx context.Context, name string) (Provider, error) {
	var p Provider
	err := i.ask(ctx, &p, "add", name, "--wait", patience.String())
	return p, err
}

// Token makes an API token of a provider.
func (i *Install) Token(ctx context.Context, provider string) (string, error) {
	var answer struct {
		Token string `json:"token"`
	}
	err := i.ask(ctx, &answer, "token", "create", provider, "--name", "promises")
	return answer.Token, err
}

// patience bounds how long a provider, or an instance, is waited for.
const patience = 2 * time.Minute

// KillInstance kills a provider's instance of a role by SIGKILL, as soon as there is one: the one before it may have been killed
// a moment ago.
func (i *Install) KillInstance(ctx context.Context, provider, role string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var last error
	err := until(ctx, func() bool {
		var pid int
		if pid, last = i.InstancePID(ctx, provider, role); last == nil {
			last = syscall.Kill(pid, syscall.SIGKILL)
		}
		return last == nil
	})
	if err != nil {
		return fmt.Errorf("kill the %s of %s: %w", role, provider, errors.Join(err, last))
	}
	return nil
}

// InstancePID returns the process id of a provider's instance of a role.
func (i *Install) InstancePID(ctx context.Context, provider, role string) (int, error) {
	var shown struct {
		Instances []struct {
			Role string `json:"role"`
			PID  int    `json:"pid"`
		} `json:"instances"`
	}
	if err := i.ask(ctx, &shown, "show", provider); err != nil {
		return 0, err
	}
	for _, instance := range shown.Instances {
		if instance.Role == role && instance.PID > 0 {
			return instance.PID, nil
		}
	}
	return 0, fmt.Errorf("provider %s has no running %s", provider, role)
}

// GatewayKey makes a key of a gateway's own, or a new one where it has one, with more flags of the command.
func (i *Install) GatewayKey(ctx context.Context, provider, gateway string, flags ...string) (string, error) {
	var answer struct {
		Key string `json:"key"`
	}
	err := i.ask(ctx, &answer, append([]string{"gateway", "add", provider, gateway}, flags...)...)
	return answer.Key, err
}
