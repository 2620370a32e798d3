package gate

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	mqttclient "github.com/eclipse/paho.mqtt.golang"
	packets3 "github.com/eclipse/paho.mqtt.golang/packets"
)

// TestMosquittoPub is the client that every Linux has: it publishes in each version and quality.
func TestMosquittoPub(t *testing.T) {
	program, err := exec.LookPath("mosquitto_pub")
	if err != nil {
		t.Skip("mosquitto_pub is not installed: apt install mosquitto-clients")
	}
	f := start(t, nil)
	host, port, err := net.SplitHostPort(f.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	run := func(want bool, args ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		args = append([]string{"-h", host, "-p", port}, args...)
		said, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
		if (err == nil) != want {
			t.Errorf("mosquitto_pub %q: %v, %s", args, err, said)
		}
	}
	var readings []string
	for _, version := range []string{"mqttv31", "mqttv311", "mqttv5"} {
		for qos := range 3 {
			value := fmt.Sprintf("%s-%d", version, qos)
			run(true, "-V", version, "-q", fmt.Sprint(qos), "-u", "boiler1", "-P", enrolmentKey, "-t", "readings/boiler1/version", "-m", value)
			readings = append(readings, "boiler1 version "+value)
			f.eventually(t, "it is stored", func() bool { return slices.Equal(f.readings(t), readings) })
		}
	}
	run(false, "-V", "mqttv5", "-u", "boiler1", "-P", "bk_wrong", "-t", "readings/boiler1/a", "-m", "1")
	run(false, "-V", "mqttv311", "-u", "boiler1", "-P", "bk_wrong", "-t", "readings/boiler1/a", "-m", "1")
	f.books(t)
}

// copies is a store of the Paho client that keeps copies. The client's own keeps the very packets that are being sent, and the
// client changes those that it takes out to resume: a race that is not ours.
type copies struct{ *mqttclient.MemoryStore }

func (c copies) Put(key string, p packets3.ControlPacket) { c.MemoryStore.Put(key, copied(p)) }

func (c copies) Get(key string) packets3.ControlPacket { return copied(c.MemoryStore.Get(key)) }

func copied(p packets3.ControlPacket) packets3.ControlPacket {
	if p, is := p.(*packets3.PublishPacket); is {
		return new(*p)
	}
	return p
}

// TestPahoClientOverBrokenConnections: the Paho client for Go publishes at QoS 1 and 2 while its connections break: all is
// stored in the end. It may be stored twice also of QoS 2: this client (1.5.1) now and then sends a PUBLISH again that it
// has released, against [MQTT-4.3.3-1], which no server can tell from a new one.
func TestPahoClientOverBrokenConnections(t *testing.T) {
	f := start(t, nil)
	options := mqttclient.NewClientOptions().AddBroker("tcp://" + f.Addr().String()).SetClientID("paho").SetCleanSession(false).
		SetUsername("g").SetPassword(enrolmentKey).SetAutoReconnect(true).SetMaxReconnectInterval(10 * time.Millisecond).
		SetConnectRetry(true).SetConnectRetryInterval(10 * time.Millisecond).SetKeepAlive(5 * time.Second).
		SetStore(copies{mqttclient.NewMemoryStore()})
	client := mqttclient.NewClient(options)
	defer client.Disconnect(0)
	if token := client.Connect(); !token.WaitTimeout(time.Minute) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	const n = 300
	for i := range n {
		// Its token tells nothing here: the client completes it when it comes again, and keeps the message.
		client.Publish("readings/g/n", byte(1+i%2), false, fmt.Sprint(i))
		if i%50 == 49 {
			for _, c := range f.conns.all() {
				_ = c.Conn.Close()
			}
		}
	}
	count := func() map[string]int {
		count := map[string]int{}
		for _, r := range f.readings(t) {
			count[strings.TrimPrefix(r, "g n ")]++
		}
		return count
	}
	f.eventually(t, "all are stored", func() bool { return len(count()) == n })
	f.eventually(t, "nothing is in hand", func() bool { _, inHand := f.committer.Totals(); return inHand == 0 })
}
