package gate

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"

	"berth/internal/credentials"
	"berth/internal/gateways/crowd"
	"berth/schema/record"
)

// crowdEnv names the environment's variable that makes this test's program a crowd of connections in a process of its own:
// protocol, address, number.
const crowdEnv = "BERTH_TEST_CROWD"

// runCrowd opens the connections, says so, and waits until its input ends.
func runCrowd(text string) error {
	var protocol, address string
	var n int
	if _, err := fmt.Sscan(text, &protocol, &address, &n); err != nil {
		return err
	}
	key := enrolmentKey
	if crowd.Within(protocol) {
		key = relayKey
	}
	c, err := crowd.Come(context.Background(), protocol, address, key, nil, n)
	if err != nil {
		return err
	}
	defer c.Leave()
	fmt.Fprintln(os.Stdout, "there")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// come starts a crowd and returns when it is there. The returned function ends it.
func (f *fixture) come(t testing.TB, protocol string, n int) (leave func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d", crowdEnv, protocol, f.Addr(), n))
	var errs strings.Builder
	cmd.Stderr = &errs
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "there\n" {
		t.Fatalf("the crowd does not come: %q, %v, %s", line, err, errs.String())
	}
	return func() { _ = in.Close(); _ = cmd.Wait() }
}

// relayKey is the pre-shared key of a crowd's relay.
const relayKey = "gk_crowd"

// withRelay adds it to the keys.
func withRelay(_ *fixture, o *Options) {
	o.Keys = maps.Clone(o.Keys)
	o.Keys["gateway."+credentials.Hash(crowd.Relay)] = record.GatewayKey{
		Gateway: crowd.Relay, Relay: true, Hash: credentials.Hash(relayKey), Sealed: []byte(relayKey),
	}
}

// What an idle plain connection may cost the process of the port, in bytes of heap and stacks; and a peer of CoAP, of which
// nothing but a session of DTLS is kept.
const (
	maxIdleApart = 10 << 10
	maxIdlePeer  = 4 << 10
)

// TestAnIdleConnectionCostsThePortLittle, by each protocol in which gateways stay connected, or have a session: the connections
// are another process's, so that what is measured is the port's alone.
func TestAnIdleConnectionCostsThePortLittle(t *testing.T) {
	if testing.Short() {
		t.Skip("opens thousands of connections")
	}
	const n = 2000
	for _, protocol := range []string{"berth", "mqtt", "mqtt5", "coap", "coaps"} {
		t.Run(protocol, func(t *testing.T) {
			if !alone(t) {
				return
			}
			most := float64(maxIdleApart)
			if crowd.Datagrams(protocol) {
				most = maxIdlePeer
			}
			f := start(t, withRelay)
			f.come(t, protocol, 1)()
			before := inUse()
			leave := f.come(t, protocol, n)
			f.eventually(t, "all frames are answered", func() bool { _, inHand := f.committer.Totals(); return inHand == 0 })
			got := (inUse() - before) / n
			t.Logf("%.0f bytes for each idle connection", got)
			if got > most {
				t.Errorf("an idle connection costs %.0f bytes, more than %.0f", got, most)
			}
			leave()
		})
	}
}
