package promises

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/internal/api"
	"berth/internal/gateways"
	"berth/promises/install"
)

// Bad input gets a clear error and costs little: what strangers cost is below, garbage in garbage_test.go, what rots in
// rot_test.go.

// What the promise says, and how long the real programs give a stranger.
const (
	strangerBytes = 16 << 10
	houseShare    = 200 // what the house may write by chance meanwhile, for each: one page would be 4096
	firstFrame    = 10 * time.Second
	totalsEvery   = 10 * time.Second // after which what is no stranger's would have been written
)

// inputTest is an installation with one provider.
type inputTest struct {
	t        *testing.T
	install  *install.Install
	dir      string
	provider install.Provider
	api      gateways.API
}

func newInputTest(t *testing.T) *inputTest {
	t.Helper()
	in, dir := newInstall(t)
	p, err := in.Add(t.Context(), "provider1")
	if err != nil {
		t.Fatal(err)
	}
	token, err := in.Token(t.Context(), "provider1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "serve.log"))
			t.Logf("what serve said last:\n%s", log[max(0, len(log)-20_000):])
		}
	})
	return &inputTest{t: t, install: in, dir: dir, provider: p, api: gateways.API{Base: "http://" + in.Web, Provider: "provider1", Token: token}}
}

// ingest returns the process id of the provider's ingest.
func (i *inputTest) ingest() int {
	i.t.Helper()
	pid, err := i.install.InstancePID(i.t.Context(), "provider1", "ingest")
	if err != nil {
		i.t.Fatal(err)
	}
	return pid
}

// until asks again and again until fn succeeds.
func (i *inputTest) until(what string, limit time.Duration, fn func() error) {
	i.t.Helper()
	end := time.Now().Add(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := fn()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			i.t.Fatalf("after %v still not: %s: %v", limit, what, err)
		}
		<-tick.C
	}
}

func (i *inputTest) books() (b api.Books) {
	i.t.Helper()
	if err := i.api.Books(i.t.Context(), &b); err != nil {
		i.t.Fatal(err)
	}
	return b
}

// healthy sends 100 frames a second of one gateway until the returned function is called, which returns how long
// acknowledgements took, after it has compared what the API answers with what was acknowledged.
func (i *inputTest) healthy(prefix string) (stop func() gateways.Stats) {
	i.t.Helper()
	fleet, err := gateways.New(gateways.Options{
		Address: i.provider.Address(), Key: i.provider.EnrolmentKey, Prefix: prefix, Rate: 100, Step: time.Second,
	})
	if err != nil {
		i.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(i.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		fleet.Run(ctx)
	}()
	i.t.Cleanup(func() { cancel(); <-ended })
	return func() gateways.Stats {
		i.t.Helper()
		cancel()
		<-ended
		stats := fleet.Stats()
		result, err := fleet.Check(i.t.Context(), i.api)
		switch {
		case err != nil:
			i.t.Errorf("%s: %v", prefix, err)
		case !result.Good() || result.Acked == 0 || stats.Reconnects > 0:
			i.t.Errorf("%s: %+v, %d reconnects", prefix, result, stats.Reconnects)
		}
		return stats
	}
}

// process is what the kernel counts of a process.
type process struct {
	resident int // bytes
	written  int // bytes that it had written to a disk
	files    int // that it has open
}

func lookAt(t *testing.T, pid int) (p process) {
	t.Helper()
	read := func(file, field string, factor int) int {
		text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), file))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, field+":"); ok {
				n, err := strconv.Atoi(strings.Fields(rest)[0])
				if err != nil {
					t.Fatal(err)
				}
				return n * factor
			}
		}
		t.Fatalf("%s of process %d has no %s", file, pid, field)
		return 0
	}
	fds, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "fd"))
	if err != nil {
		t.Fatal(err)
	}
	return process{resident: read("status", "VmRSS", 1<<10), written: read("io", "write_bytes", 1), files: len(fds)}
}

// fileSizes returns the files of the keyspaces, with size and time of change.
func (i *inputTest) fileSizes() string {
	i.t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(filepath.Join(i.dir, "var", "keyspaces"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		fmt.Fprintln(&b, path, info.Size(), info.ModTime())
		return err
	})
	if err != nil || b.Len() == 0 {
		i.t.Fatalf("the keyspaces' files are not where they were looked for: %v", err)
	}
	return b.String()
}

// strangers are connections that never show a key.
type strangers struct {
	stop chan struct{}

	mu    sync.Mutex // guards what follows
	conns []net.Conn
	slow  []slowStranger
}

// slowStranger says a byte a second.
type slowStranger struct {
	net.Conn
	says string
}

// strangerKinds are what a stranger says before it says nothing more; slow ones say it a byte a second.
var strangerKinds = []struct {
	name, says string
	slow, gone bool
}{
	{name: "says nothing"},
	{name: "half a HELLO", says: "HELLO gateway bk_"},
	{name: "a byte a second", says: "HELLO a gateway with a long name that takes its time", slow: true},
	{name: "half a header", says: "POST /write HTTP/1.1\r\nHost: a\r\nX-Long: " + strings.Repeat("a", 1000)},
	{name: "a header a byte a second", says: "POST /write HTTP/1.1\r\nHost: a\r\n\r\n", slow: true},
	{name: "abandoned without a FIN", says: "HELLO gateway bk_", gone: true},
	{name: "a beginning of TLS", says: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"},
}

// comeStrangers opens n connections of strangers of every kind, and returns how many of them the port does not close at
// once.
func comeStrangers(t *testing.T, address string, n int) (s *strangers, waiting int) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < uint64(n+500) {
		t.Fatalf("%d strangers want %d open files, and at most %d are allowed (%v): raise it, ulimit -Hn 65536", n, n+500, limit.Cur, err)
	}
	s = &strangers{stop: make(chan struct{})}
	t.Cleanup(s.leave)
	for _, kind := range strangerKinds {
		waits := kind.says == "" || kind.says[0] >= ' ' // the port closes the others at once
		waiting += map[bool]int{true: n / len(strangerKinds)}[waits]
	}
	next := make(chan int)
	var dialing sync.WaitGroup
	for range 16 {
		dialing.Go(func() {
			for i := range next {
				if err := s.come(t.Context(), address, i%len(strangerKinds)); err != nil {
					t.Errorf("stranger %d, who %s: %v", i, strangerKinds[i%len(strangerKinds)].name, err)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	dialing.Wait()
	go s.speak()
	return s, waiting
}

// come connects one stranger.
func (s *strangers) come(ctx context.Context, address string, number int) error {
	kind := strangerKinds[number]
	dialer := net.Dialer{Timeout: recovery}
	c, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	says := kind.says
	if kind.slow {
		says = says[:1]
	}
	if _, err := c.Write([]byte(says)); err != nil {
		return err
	}
	if kind.gone {
		vanish(c)
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = append(s.conns, c)
	if kind.slow {
		s.slow = append(s.slow, slowStranger{c, kind.says})
	}
	return nil
}

// speak lets the slow ones say their next byte, once a second. That the port has closed some of them is no error.
func (s *strangers) speak() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		for _, c := range s.slow {
			_, _ = c.Write([]byte{c.says[n%len(c.says)]})
		}
	}
}

// leave closes what is left of them.
func (s *strangers) leave() {
	select {
	case <-s.stop:
		return
	default:
		close(s.stop)
	}
	for _, c := range s.conns {
		_ = c.Close()
	}
}

// vanish ends our side of a connection so that the other hears nothing of it, as far as loopback allows: a socket that
// is under repair sends no FIN. Without the right to that (CAP_NET_ADMIN) it stays open until the test ends.
func vanish(c net.Conn) {
	const tcpRepair = 0x13
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	var repair error
	err = raw.Control(func(fd uintptr) { repair = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpRepair, 1) })
	if errors.Join(err, repair) == nil {
		_ = c.Close()
	}
}

// TestStrangersCostLittle opens 5,000 connections of strangers on a provider's port at once. Each costs ingest at most 16
// KB of resident memory; nothing is written for them, by ingest or NATS, while they are there or after; they are gone
// after the deadline of a first frame; and a healthy gateway gets its acknowledgements meanwhile.
func TestStrangersCostLittle(t *testing.T) {
	n := 5000
	if testing.Short() {
		n = 500
	}
	i := newInputTest(t)
	house := i.install.PID()
	unused := lookAt(t, house)
	stop := i.healthy("before")
	<-time.After(2 * time.Second) // the time that is measured
	before := stop()
	if lookAt(t, house).written == unused.written {
		t.Error("the kernel counts no writes of the log: the test cannot see what strangers make the house write; give a TMPDIR on a disk")
	}

	// A stop stores what the gateway sent. Else it would be stored within a minute, which may be while the strangers are there.
	i.install.Stop()
	i.begin()
	pid := i.ingest()
	house = i.install.PID()
	quiet := i.atRest(pid)
	idleFrom, idleHouse := time.Now(), lookAt(t, house)
	pause := 3 * time.Second
	if testing.Short() {
		pause = time.Second
	}
	<-time.After(pause) // what the house writes with nobody there
	idle := float64(lookAt(t, house).written-idleHouse.written) / time.Since(idleFrom).Seconds()

	begun, start, startHouse, files, books := time.Now(), lookAt(t, pid), lookAt(t, house), i.fileSizes(), i.books()
	s, waiting := comeStrangers(t, i.provider.Address(), n)
	came := time.Since(begun)
	var there process
	i.until("nine of ten strangers are there at once", firstFrame, func() error {
		there = lookAt(t, pid)
		if got := there.files - quiet.files; got < waiting*9/10 {
			return fmt.Errorf("%d of %d, which came in %v", got, waiting, came)
		}
		return nil
	})
	waiting = there.files - quiet.files
	each := (there.resident - start.resident) / waiting
	t.Logf("%d strangers came in %v, %d of them wait: %d bytes of resident memory each", n, came.Round(time.Millisecond), waiting, each)
	if each > strangerBytes {
		t.Errorf("a stranger costs %d bytes, more than %d", each, strangerBytes)
	}
	i.until("all strangers are gone", firstFrame+recovery, func() error {
		if got := lookAt(t, pid).files - quiet.files; got > 0 {
			return fmt.Errorf("%d are there", got)
		}
		return nil
	})
	gone := time.Since(begun)
	s.leave()
	if !testing.Short() {
		<-time.After(totalsEvery + time.Second) // nothing is to happen
	}
	after, afterHouse, nowBooks := lookAt(t, pid), lookAt(t, house), i.books()
	wrote, houseWrote := after.written-start.written, float64(afterHouse.written-startHouse.written)
	expected := idle * time.Since(begun).Seconds()
	t.Logf("all were gone after %v; ingest wrote %d bytes, the house %.0f and %.0f in as long without strangers", gone.Round(10*time.Millisecond), wrote, houseWrote, expected)
	if wrote != 0 {
		t.Errorf("ingest wrote %d bytes for strangers", wrote)
	}
	if houseWrote > 1.5*expected+float64(n)*houseShare {
		t.Errorf("the house wrote %.0f bytes, and would have written %.0f", houseWrote, expected)
	}
	if nowBooks.Log.Last != books.Log.Last {
		t.Errorf("the log went from message %d to %d", books.Log.Last, nowBooks.Log.Last)
	}
	if now := i.fileSizes(); now != files {
		t.Errorf("the keyspaces' files changed:\n%s\n%s", files, now)
	}
	if got := nowBooks.Strangers - books.Strangers; got != uint64(n) {
		t.Errorf("%d strangers are counted", got)
	}

	stop = i.healthy("during")
	s, _ = comeStrangers(t, i.provider.Address(), n)
	<-time.After(pause) // the time that is measured
	during := stop()
	s.leave()
	t.Logf("a healthy gateway's acknowledgements: p50 %v, p99 %v without strangers, p50 %v, p99 %v with them", before.P50, before.P99, during.P50, during.P99)
	if during.P99 > max(10*before.P99, 5*time.Second) { // for half a minute nobody would be answered if strangers had the port
		t.Errorf("p99 went from %v to %v", before.P99, during.P99)
	}
}

// atRest waits until ingest, which has nothing to store, is done with its start.
func (i *inputTest) atRest(pid int) process {
	i.t.Helper()
	last, since := lookAt(i.t, pid), time.Now()
	i.until("ingest rests", recovery, func() error {
		now := lookAt(i.t, pid)
		if now.written != last.written || now.files != last.files {
			last, since = now, time.Now()
		}
		if time.Since(since) < time.Second {
			return errors.New("it still writes")
		}
		return nil
	})
	return last
}
