package format

import (
	"fmt"
	"testing"

	"berth/schema/record"
)

// TestTheCensusForgetsWithinItsLimits: it keeps within its memory, and what it forgets it asks for again, so that limits
// hold and no gateway counts twice.
func TestTheCensusForgetsWithinItsLimits(t *testing.T) {
	const gateways, sensors, memory = 500, 10, 32 << 10
	stored, asked := map[string][]string{}, 0
	c := newCensus(&TableOptions{Memory: memory, Known: func(gateway string) ([]string, bool) {
		asked++
		return stored[gateway], stored[gateway] != nil
	}})
	l := record.Limits{Gateways: gateways, SensorsPerGateway: sensors}
	for s := range sensors {
		for g := range gateways {
			name, sensor := fmt.Sprintf("g%d", g), fmt.Sprintf("s%d", s)
			if r := c.admit(name, []string{sensor}, &l); r != nil {
				t.Fatalf("%s, %s: %s", name, sensor, r.text())
			}
			if g%2 == 0 { // of the others what is stored is not yet known
				stored[name] = append(stored[name], sensor)
			}
			kept := 0
			for _, generation := range []map[uint64]*gateway{c.young, c.old} {
				for _, g := range generation {
					kept += gatewayMemory + sensorMemory*len(g.sensors)
				}
			}
			if kept > memory+2*(gatewayMemory+sensorMemory*sensors) {
				t.Fatalf("about %d bytes are kept, want at most about %d", kept, memory)
			}
		}
	}
	if asked <= gateways {
		t.Errorf("asked %d times about %d gateways: nothing was forgotten", asked, gateways)
	}
	for g := range gateways {
		name := fmt.Sprintf("g%d", g)
		if r := c.admit(name, []string{"more"}, &l); g%2 == 0 && (r == nil || r.reason != ReasonSensorLimit) {
			t.Errorf("%s got a sensor more than its limit", name)
		}
	}
	if r := c.admit("more", []string{"s"}, &l); r == nil || r.reason != ReasonGatewayLimit {
		t.Errorf("a gateway more than the limit was taken up: %d are counted", c.count)
	}
	if c.count != gateways {
		t.Errorf("%d gateways are counted, want %d", c.count, gateways)
	}
}
