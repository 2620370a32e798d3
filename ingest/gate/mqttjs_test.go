package gate

import (
	"fmt"
	"slices"
	"testing"
)

// TestMQTTJS is the client of Node's world: it publishes in each version and quality, over connections that break, and hears
// why what is refused. Of QoS 2 each message is stored once.
func TestMQTTJS(t *testing.T) {
	needsNPM(t, "mqtt")
	for _, version := range []int{4, 5} {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			t.Parallel()
			f := start(t, nil)
			var said struct {
				Present []bool         `json:"present"`
				Granted []int          `json:"granted"`
				Refused map[string]int `json:"refused"`
				Failed  []int          `json:"failed"`
				Why     []string       `json:"why"`
			}
			runNPM(t, "mqtt.mjs", map[string]any{"port": portOf(t, f), "version": version, "user": "js", "key": enrolmentKey}, &said)
			want := map[string]int{"key": 4}
			if version == 5 {
				want = map[string]int{"key": 0x86, "topic": 0x90, "payload": 0x99, "gateway": 0x87}
			}
			if fmt.Sprint(said.Refused) != fmt.Sprint(want) {
				t.Errorf("refused is %v, want %v", said.Refused, want)
			}
			if len(said.Present) < 2 || said.Present[0] || slices.Contains(said.Present[1:], false) || !slices.Equal(said.Granted, []int{1}) {
				t.Errorf("said %+v", said)
			}
			for _, why := range said.Why {
				if why != "Connection closed" {
					t.Errorf("a message failed: %s", why)
				}
			}
			count := map[string]int{}
			for _, r := range f.readings(t) {
				count[r]++
			}
			for i := range 3 {
				if n := count[fmt.Sprintf("js q%d %d", i, i)]; n != 1 {
					t.Errorf("the message of QoS %d is stored %d times", i, n)
				}
			}
			for i := range 200 {
				if n := count[fmt.Sprintf("js n%d %d", i, i)]; n == 0 && !slices.Contains(said.Failed, i) || n > 1 && i%2 == 1 {
					t.Errorf("message %d is stored %d times", i, n)
				}
			}
		})
	}
}
