package gate

import (
	"fmt"
	"runtime"
	"testing"

	packets3 "github.com/eclipse/paho.mqtt.golang/packets"
)

// idleMQTT returns what each of n connections of MQTT costs that have published and wait, ours and the test's side together.
func idleMQTT(t testing.TB, n int) float64 {
	t.Helper()
	f := start(t, nil)
	f.connect3(t, "warm", enrolmentKey, nil).Close()
	before := inUse()
	clients := make([]*client3, n)
	for i := range clients {
		name := fmt.Sprintf("gateway_%d", i)
		c := f.connect3(t, name, enrolmentKey, func(p *packets3.ConnectPacket) { p.CleanSession = false })
		c.publish("readings/"+name+"/temperature", byte(1+i%2), 1, "21.5")
		if _, err := packets3.ReadPacket(c.in); err != nil {
			t.Fatal(err)
		}
		c.in = nil
		clients[i] = c
	}
	f.eventually(t, "all messages are answered", func() bool { _, inHand := f.committer.Totals(); return inHand == 0 })
	after := inUse()
	runtime.KeepAlive(clients)
	for _, c := range clients {
		_ = c.Close()
	}
	return (after - before) / float64(n)
}

func TestAnIdleMQTTConnectionCostsLittle(t *testing.T) {
	if testing.Short() {
		t.Skip("opens a thousand connections")
	}
	if !alone(t) {
		return
	}
	got := idleMQTT(t, 1000)
	t.Logf("%.0f bytes for each idle connection and the test's side of it", got)
	if got > maxIdle {
		t.Errorf("an idle connection costs %.0f bytes, more than %d", got, maxIdle)
	}
}

func BenchmarkIdleMQTTConnection(b *testing.B) {
	for b.Loop() {
		b.ReportMetric(idleMQTT(b, 2000), "bytes/conn")
	}
}
