package provisioner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"berth/internal/api"
	"berth/internal/credentials"
	"berth/internal/durable"
	"berth/provisioner/doctor"
	"berth/provisioner/ports"
	"berth/schema"
)

// webPatience is how long web's address may still be held when the daemon starts: by the web of a daemon that was
// killed a moment ago.
const webPatience = 5 * time.Second

// lock makes the data directory, and holds it until unlock is called or the process ends.
func lock(data string) (unlock func() error, err error) {
	if err := durable.Mkdir(data, 0o700); err != nil {
		return nil, schema.Errorf(schema.Invalid, "the data directory %s cannot be made", data).
			WithNext("give another --data, or change the owner of the folder above").WithCause(err)
	}
	f, err := os.OpenFile(filepath.Join(data, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, schema.Errorf(schema.Invalid, "the data directory %s cannot be written", data).
			WithNext("run as its owner, or give another --data").WithCause(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		who, _ := io.ReadAll(io.LimitReader(f, 16))
		_ = f.Close()
		return nil, schema.Errorf(schema.Conflict, "another provisioner(%s) runs in %s", strings.TrimSpace(string(who)), data).
			WithNext("use that one, stop it, or give another --data").WithCause(err)
	}
	_ = f.Truncate(0) // only for the message above
	_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return f.Close, nil
}

// installID returns the installation's id, which is made at the first start.
func installID(data string) (string, error) {
	path := filepath.Join(data, "install")
	id, err := os.ReadFile(path)
	if err == nil && len(id) > 0 {
		return strings.TrimSpace(string(id)), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the installation's id: %w", err)
	}
	fresh := credentials.NewKey("")[:8]
	if err := durable.WriteFile(path, []byte(fresh+"\n")); err != nil {
		return "", fmt.Errorf("write the installation's id: %w", err)
	}
	return fresh, nil
}

// claimWeb checks that web can have its address, and chooses a port where any will do.
func (p *Provisioner) claimWeb(ctx context.Context) error {
	if p.o.Web == "" {
		return nil
	}
	host, text, err := net.SplitHostPort(p.o.Web)
	if err != nil {
		return fmt.Errorf("read web's address: %w", err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("read web's address: %w", err)
	}
	if port == 0 {
		return p.chooseWeb(ctx, host)
	}
	ctx, cancel := context.WithTimeout(ctx, webPatience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		by := ports.HolderTCP(ctx, host, port)
		if by == "" || p.webRuns(ctx) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return schema.Errorf(schema.Conflict, "web's address %s is held by %s", p.o.Web, by).
				WithNext("stop that, or give another: --web %s", net.JoinHostPort(host, strconv.Itoa(port+1)))
		}
	}
}

func (p *Provisioner) chooseWeb(ctx context.Context, host string) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return schema.Errorf(schema.Invalid, "web cannot listen on %q", host).WithNext("give --web another host").WithCause(err)
	}
	p.o.Web = l.Addr().String()
	return l.Close()
}

// webURL returns how this machine reaches web.
func (p *Provisioner) webURL() string {
	host, port, err := net.SplitHostPort(p.o.Web)
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	switch {
	case p.front.Certificates != nil:
		return "https://" + net.JoinHostPort(host, port)
	case port == "80":
		return "http://" + host
	default:
		return "http://" + net.JoinHostPort(host, port)
	}
}

// WebReady returns when web answers, or with why it does not when ctx ends.
func (p *Provisioner) WebReady(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	client := doctor.Asker()
	defer client.CloseIdleConnections()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.webURL()+api.ReadyPath, nil)
		if err != nil {
			return fmt.Errorf("ask web: %w", err)
		}
		if resp, err := client.Do(req); err == nil {
			_ = resp.Body.Close()
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return schema.Errorf(schema.Unavailable, "web does not answer at %s yet", p.webURL()).
				WithNext("see why: provisioner logs web --data %s", p.o.Data)
		}
	}
}
