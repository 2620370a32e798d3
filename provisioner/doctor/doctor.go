// Package doctor checks what an installation stands on and says what to do where something is wrong. It changes
// nothing.
package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"syscall"
	"time"

	watch "berth/provisioner/disk"
)

// State is what a check found.
type State string

// What a check may find.
const (
	OK   State = "ok"
	Warn State = "warn" // it works, but not for long or not well
	Fail State = "fail"
)

// Check is what one check found.
type Check struct {
	Name     string `json:"name"`
	Provider string `json:"provider,omitempty"` // whose trouble it is; empty: the installation's
	State    State  `json:"state"`
	Text     string `json:"text"`
	Next     string `json:"next,omitempty"` // what to do now
}

// Good returns a check that found nothing wrong.
func Good(name, format string, args ...any) Check {
	return Check{Name: name, State: OK, Text: fmt.Sprintf(format, args...)}
}

// Bad returns a check that found something wrong.
func Bad(state State, name, next, format string, args ...any) Check {
	return Check{Name: name, State: state, Text: fmt.Sprintf(format, args...), Next: next}
}

// Thresholds of checks.
const (
	diskFail  = 1 << 30
	diskWarn  = 5 << 30
	filesWarn = 16_384
)

// Machine checks what needs no daemon: the data directory, its disk, the limit of open files and the clock.
func Machine(data string) []Check {
	return []Check{dataDir(data), disk(data), files(), clock(time.Now())}
}

func dataDir(data string) Check {
	const name = "data directory"
	info, err := os.Stat(data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Bad(Warn, name, "it is made by: provisioner serve --data "+data, "%s does not exist yet", data)
	case err != nil:
		return Bad(Fail, name, "check its path and its owner", "%s cannot be looked at: %v", data, err)
	case !info.IsDir():
		return Bad(Fail, name, "give another --data", "%s is no directory", data)
	case info.Mode().Perm()&0o077 != 0:
		return Bad(Warn, name, "chmod 700 "+data, "%s can be opened by others: mode %v", data, info.Mode().Perm())
	}
	f, err := os.CreateTemp(data, ".doctor-*")
	if err != nil {
		return Bad(Fail, name, "run as its owner, or change the owner", "%s cannot be written: %v", data, err)
	}
	_ = errors.Join(f.Close(), os.Remove(f.Name()))
	return Good(name, "%s can be written", data)
}

// Synchronized reports whether the kernel holds its clock for synchronized.
func Synchronized() bool { return !unsynchronized() }

func disk(data string) Check {
	const name = "disk"
	space, err := watch.Of(data)
	if err != nil {
		return Bad(Warn, name, "", "the disk of %s cannot be looked at: %v", data, err)
	}
	free := space.Free
	share := float64(free) / float64(max(space.Size, 1)) * 100
	next := "free some, or shorten what is kept: provisioner set <provider> --retention 90d"
	switch {
	case free < diskFail || share < 2:
		return Bad(Fail, name, next, "%s free (%.0f %%): gateways wait, or will soon", size(free), share)
	case free < diskWarn || share < 10:
		return Bad(Warn, name, next, "%s free (%.0f %%)", size(free), share)
	}
	return Good(name, "%s free (%.0f %%)", size(free), share)
}

func files() Check {
	const name = "open files"
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return Bad(Warn, name, "", "the limit of open files cannot be read: %v", err)
	}
	if r.Max < filesWarn {
		return Bad(Warn, name, "raise it: ulimit -Hn 65536, or LimitNOFILE= of the service", "at most %d per process: so many connections a provider may have", r.Max)
	}
	return Good(name, "at most %d per process", r.Max)
}

// clock checks that the clock is not plainly wrong, and that the kernel holds it for synchronized.
func clock(now time.Time) Check {
	const name = "clock"
	if now.Year() < 2025 || now.Year() > 2100 {
		return Bad(Fail, name, "set it, and keep it by NTP", "it is %s here: readings would be refused by their times", now.Format(time.RFC3339))
	}
	if unsynchronized() {
		return Bad(Warn, name, "keep it by NTP: timedatectl set-ntp true", "%s, not synchronized", now.Format(time.RFC3339))
	}
	return Good(name, "%s", now.Format(time.RFC3339))
}

// Asker returns a client that asks the installation's own web whether it answers: it tells it nothing and believes nothing
// but the status, so a certificate may be for the name that browsers use, and signed by whom it will.
func Asker() *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, //nolint:gosec // see above
	}
}

// Browser checks that something answers at the address that people open.
func Browser(ctx context.Context, url string) Check {
	const name = "browser address"
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	next := "see why: provisioner logs web"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Bad(Fail, name, "give --web a host and a port", "%s is no address: %v", url, err)
	}
	client := Asker()
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return Bad(Fail, name, next, "%s does not answer: %v", url, errors.Unwrap(err))
	}
	_ = resp.Body.Close()
	if resp.StatusCode >= 500 {
		return Bad(Fail, name, next, "%s answers %s", url, resp.Status)
	}
	return Good(name, "%s answers", url)
}

func size(n uint64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	default:
		return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20))
	}
}
