package gate

import (
	"flag"
	"fmt"
	"runtime"
	"testing"
	"time"

	packets3 "github.com/eclipse/paho.mqtt.golang/packets"

	"berth/ingest/commit"
	"berth/ingest/gate/intake"
	"berth/internal/figures"
)

var ends = flag.Int("ends", 300, "clients that leave while the log takes nothing")

// TestMQTTEndsWhileTheLogTakesNothing: clients with wills that come and go while the log is full leave no
// goroutines, and what they leave to be stored is stored when there is room, or was counted.
func TestMQTTEndsWhileTheLogTakesNothing(t *testing.T) {
	f := start(t, func(f *fixture, o *Options) {
		_ = f.committer.Close(t.Context())
		f.committer = commit.New(commit.Options{Writer: f.log, Logger: o.Logger, Queue: 64 << 10})
		o.Committer = f.committer
		o.Limits = intake.Limits{Drain: time.Millisecond}
		f.pipeline.Settings.Limits.ConnectionsPerGateway = int64(*ends)
	})
	f.committer.Hold(true)
	for range *ends {
		c := f.connect3(t, "g", enrolmentKey, func(p *packets3.ConnectPacket) {
			p.WillFlag, p.WillTopic, p.WillMessage, p.ClientIdentifier = true, "readings/g/status", []byte("offline"), ""
		})
		_ = c.SetLinger(0) // it dies
		_ = c.Close()
	}
	f.eventually(t, "the connections are gone", func() bool { return f.Connections() == 0 })
	f.eventually(t, "so are their goroutines, but one", func() bool { return runtime.NumGoroutine() < 50 })
	heap := figures.Heap()
	waiting := f.books(t)
	given := waiting.Reasons[intake.ReasonEnds]
	t.Logf("%d clients with wills left: of %d frames %d given up as ends, %d MB of heap", *ends, 3**ends, given, heap>>20)
	f.committer.Hold(false)
	f.eventually(t, "the rest is stored", func() bool {
		now := f.books(t)
		return now.FramesCommitted+now.FramesGivenUp == uint64(3**ends) && now.FramesGivenUp == waiting.FramesGivenUp
	})
}

// TestMQTTATakenOverConnectionKeepsItsPlace: while what it has in hand waits, it counts among the connections that the provider may
// have; else one client that connects again and again would have ever more in hand.
func TestMQTTATakenOverConnectionKeepsItsPlace(t *testing.T) {
	f := start(t, func(f *fixture, o *Options) {
		smallQueue(f, o)
		f.pipeline.Settings.Limits.ConnectionsPerGateway = 2 // the one that takes over, while the other ends
	})
	f.log.Hold(true)
	other := f.connect3(t, "h", enrolmentKey, nil)
	for i := range 40 {
		other.publish("readings/h/a", 1, uint16(i+1), fmt.Sprint(i))
		other.ping()
	}
	const times = 10
	for i := range times {
		c := f.connect3(t, "g", enrolmentKey, nil)
		c.publish("readings/g/a", 1, uint16(i+1), fmt.Sprint(i))
		c.ping() // it was taken
	}
	if n := f.Connections(); n != times+1 {
		t.Errorf("%d connections, of which %d have something in hand", n, times+1)
	}
	f.log.Hold(false)
	f.eventually(t, "what they had in hand is stored, and they are gone", func() bool {
		return f.Connections() == 2 && f.count(t, "g a 0")+f.count(t, fmt.Sprint("g a ", times-1)) == 2
	})
}
