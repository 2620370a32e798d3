package block

import (
	"testing"

	"berth/schema/internal/wire"
)

// TestAnatomy prints where the bytes of blocks are, with -v: the sections of each, and of every column the coding, the form of
// its stream and its size.
func TestAnatomy(t *testing.T) {
	for name, c := range benchContents() {
		data := encoded(t, c)
		r, err := Open(data)
		if err != nil {
			t.Fatal(err)
		}
		times, payload := 0, 0
		for i := range r.times {
			times += len(r.times[i].data)
		}
		for i := range r.columns {
			payload += len(r.columns[i].data)
		}
		n := float64(c.Readings())
		t.Logf("%s: %d bytes, %.3f a reading: values %.3f, times %.3f, the rest %.3f (%d bytes)", name, len(data), float64(len(data))/n,
			float64(payload)/n, float64(times)/n, float64(len(data)-payload-times)/n, len(data)-payload-times)
		for i := range r.columns {
			form := -1
			if d := r.columns[i].data; len(d) > 0 {
				form = int(wire.NewCursor(d).Byte())
			}
			t.Logf("  %-30s coding %d form %#x %5d bytes, %.2f bits a reading", r.infos[i].Sensor, r.columns[i].coding, form, len(r.columns[i].data), 8*float64(len(r.columns[i].data))/float64(c.Columns[i].Len()))
		}
	}
}
