package promises

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"berth/internal/gateways"
)

// Slow and half-open connections cost the others no time: thousands that drip a byte a second, in Berth frames and in MQTT,
// before they have shown a key and after, and thousands that have begun a handshake and say nothing more.

var drip = flag.Duration("drip", 0, "how long each measurement beside slow connections lasts; 0: seconds")

// What a healthy gateway's p99 may be beside them: twice what it is without, and the time in which a busy machine does
// something else. It is measured in slices, of which the calmest counts, since what slow connections cost is in each of them;
// and again if it is too much: others may be at work on this machine.
const (
	dripSlices = 4
	dripRounds = 3
	dripNoise  = 5 * time.Millisecond   // at length, on a machine that does nothing else
	dripBusy   = 250 * time.Millisecond // in the shorter forms, which run beside other tests: whoever waited for one of them would wait for seconds
)

// dripSpeed is how often each says a byte.
const dripSpeed = time.Second

// dripper is a connection that comes again when it is closed.
type dripper struct {
	key    string
	number int
	conn   net.Conn
	ended  *atomic.Bool // by the port
	says   string       // byte by byte
	at     time.Time
	leaves time.Time // by itself, once, so that not all come again at the same time; zero: it stays
}

// dripKinds are what slow connections do, each: what they say at once, and what they drip then; again and again if it is
// whole frames. Without anything to drip they wait to be closed.
var dripKinds = []struct {
	name string
	says func(d *dripper) (first, drips string)
	gone bool // its side is not there any more
}{
	{name: "half a HELLO", says: func(*dripper) (string, string) { return "HELLO gateway bk_", "" }},
	{name: "a HELLO, dripped", says: func(d *dripper) (string, string) { return "H", "ELLO " + d.gateway() + " " + d.key + "\n" }},
	{name: "frames, dripped", says: func(d *dripper) (string, string) {
		lines := fmt.Sprintf("slow drips=%d\n", d.number)
		return "HELLO " + d.gateway() + " " + d.key + "\n", fmt.Sprintf("PUT 1 line %d\n%s", len(lines), lines)
	}},
	{name: "half a HELLO of one who is gone", says: func(*dripper) (string, string) { return "HELLO gateway bk_", "" }, gone: true},
	{name: "half a CONNECT", says: func(d *dripper) (string, string) { return d.connect()[:20], "" }},
	{name: "a CONNECT, dripped", says: func(d *dripper) (string, string) { return d.connect()[:1], d.connect()[1:] }},
	{name: "PUBLISH, dripped", says: func(d *dripper) (string, string) {
		topic := "readings/" + d.gateway() + "/drips"
		body := field(topic) + "\x00\x01" + "1"
		return d.connect(), "\x32" + string([]byte{byte(len(body))}) + body
	}},
	{name: "a CONNECT of one who is gone", says: func(d *dripper) (string, string) { return d.connect()[:20], "" }, gone: true},
}

func (d *dripper) gateway() string { return fmt.Sprint("slow", d.number/64) }

// field is a string of MQTT.
func field(text string) string {
	return string(binary.BigEndian.AppendUint16(nil, uint16(len(text)))) + text
}

func (d *dripper) connect() string {
	body := field("MQTT") + "\x04\xc2\x00\x00" + field(fmt.Sprint("c", d.number)) + field(d.gateway()) + field(d.key)
	return "\x10" + string([]byte{byte(len(body))}) + body
}

// come connects, or connects anew, and says what is said at once.
func (d *dripper) come(ctx context.Context, address string) error {
	dialer := net.Dialer{Timeout: recovery}
	c, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	kind := &dripKinds[d.number%len(dripKinds)]
	first, drips := kind.says(d)
	d.says, d.at = drips, time.Now()
	if _, err := io.WriteString(c, first); err != nil {
		return errors.Join(err, c.Close())
	}
	ended := &atomic.Bool{}
	if kind.gone {
		vanish(c)
	} else {
		go func() {
			_, _ = io.Copy(io.Discard, c) // until the port ends it, or it is closed
			ended.Store(true)
		}()
	}
	d.conn, d.ended = c, ended
	return nil
}

// say says the next byte, and reports whether the connection is there still, as far as that shows.
func (d *dripper) say() bool {
	kind := &dripKinds[d.number%len(dripKinds)]
	switch _, drips := kind.says(d); {
	case kind.gone:
		return time.Since(d.at) < firstFrame+dripSpeed
	case d.ended.Load():
		return false
	case drips == "":
		return true
	}
	if d.says == "" {
		_, d.says = kind.says(d) // the next frame
		if d.says[0] != 'P' && d.says[0] != '\x32' {
			return false // it has got in: once more from the start
		}
	}
	_, err := io.WriteString(d.conn, d.says[:1])
	d.says = d.says[1:]
	return err == nil
}

// drippers are all of them.
type drippers struct {
	all   []*dripper
	again atomic.Int64 // how often one came again
	wrong atomic.Pointer[error]
}

// run lets each say a byte in its turn until the context ends, and those that are closed come again.
func (s *drippers) run(ctx context.Context, address string) {
	const turns = 50
	tick := time.NewTicker(dripSpeed / turns)
	defer tick.Stop()
	for turn := 0; ; turn = (turn + 1) % turns {
		select {
		case <-ctx.Done():
			for _, d := range s.all {
				_ = d.conn.Close()
			}
			return
		case <-tick.C:
		}
		for i := turn; i < len(s.all); i += turns {
			d := s.all[i]
			if leaves := !d.leaves.IsZero() && time.Now().After(d.leaves); leaves {
				d.leaves = time.Time{}
			} else if d.say() {
				continue
			}
			_ = d.conn.Close()
			if err := d.come(ctx, address); err != nil && ctx.Err() == nil {
				s.wrong.CompareAndSwap(nil, &err)
			}
			s.again.Add(1)
		}
	}
}

// comeDrippers opens n of them, and returns what ends them. Within the time that is given each comes once again, so that from
// then on they come evenly.
func comeDrippers(t *testing.T, address, key string, n int, within time.Duration) (s *drippers, leave func()) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < uint64(n+500) {
		t.Fatalf("%d slow connections want %d open files, and at most %d are allowed (%v): raise it, ulimit -Hn 65536", n, n+500, limit.Cur, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s = &drippers{}
	for i := range n {
		d := &dripper{key: key, number: i}
		if err := d.come(ctx, address); err != nil {
			t.Fatalf("slow connection %d, %s: %v", i, dripKinds[i%len(dripKinds)].name, err)
		}
		if within > 0 {
			d.leaves = time.Now().Add(rand.N(within))
		}
		s.all = append(s.all, d)
	}
	var running sync.WaitGroup
	running.Go(func() { s.run(ctx, address) })
	leave = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(leave)
	return s, leave
}

// p99 returns the p99 of healthy gateways' acknowledgements in the calmest of some slices of time, after it has compared
// what the API answers with what was acknowledged.
func (i *inputTest) p99(name string, slice time.Duration) time.Duration {
	i.t.Helper()
	calmest := time.Duration(math.MaxInt64)
	for n := range dripSlices {
		fleet, err := gateways.New(gateways.Options{
			Address: i.provider.Address(), Key: i.provider.EnrolmentKey, Prefix: fmt.Sprintf("%s-%d-", name, n),
			Gateways: 10, Rate: 40, Step: time.Second, Protocol: "berth,mqtt",
		})
		if err != nil {
			i.t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(i.t.Context(), slice)
		fleet.Run(ctx)
		cancel()
		stats := fleet.Stats()
		result, err := fleet.Check(i.t.Context(), i.api)
		if err != nil || !result.Good() || result.Acked == 0 || stats.Reconnects > 0 {
			i.t.Errorf("%s: %+v, %d reconnects, %v", name, result, stats.Reconnects, err)
		}
		calmest = min(calmest, stats.P99)
	}
	return calmest
}

// TestSlowAndHalfOpenConnectionsCostTheOthersNoTime opens 5,000 of them, or fewer in its shorter forms; a healthy gateway's
// p99 does not double.
func TestSlowAndHalfOpenConnectionsCostTheOthersNoTime(t *testing.T) {
	n, slice, evenly, noise := 1500, 750*time.Millisecond, time.Duration(0), dripBusy
	switch {
	case testing.Short():
		n, slice = 500, 500*time.Millisecond
	case *drip > 0:
		n, slice, evenly, noise = 5000, *drip/dripSlices, firstFrame, dripNoise // every slice has as many that come and are closed
	}
	i := newInputTest(t)
	pid := i.ingest()
	i.p99("warm", 200*time.Millisecond)
	for round := 1; ; round++ {
		files := lookAt(t, pid).files
		before := i.p99(fmt.Sprint("before", round), slice)
		s, leave := comeDrippers(t, i.provider.Address(), i.provider.EnrolmentKey, n, evenly)
		there := func() (count int) {
			i.until("ingest has let them in", recovery, func() error {
				if count = lookAt(t, pid).files - files; count < n*9/10 {
					return fmt.Errorf("%d of %d slow connections are there", count, n)
				}
				return nil
			})
			return count
		}
		there()
		<-time.After(evenly) // the time in which they come again
		during := i.p99(fmt.Sprint("during", round), slice)
		still := there()
		leave()
		t.Logf("p99 %v before, %v beside %d slow connections, of which %d came again", before, during, still, s.again.Load())
		if err := s.wrong.Load(); err != nil {
			t.Fatalf("a slow connection cannot come again: %v", *err)
		}
		if during <= 2*before+noise {
			return
		}
		i.until("they are gone", firstFrame+recovery, func() error {
			if left := lookAt(t, pid).files - files; left > n/50 { // the keyspace has files too
				return fmt.Errorf("%d are there", left)
			}
			return nil
		})
		after := i.p99(fmt.Sprint("after", round), slice) // perhaps it is the machine
		t.Logf("p99 %v after", after)
		if during <= 2*after+noise {
			return
		}
		if round == dripRounds {
			t.Fatalf("beside slow connections p99 is more than twice what it is without, %d times", round)
		}
	}
}
