package gate

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	packets3 "github.com/eclipse/paho.mqtt.golang/packets"

	packets5 "github.com/eclipse/paho.golang/packets"
	"github.com/google/go-cmp/cmp"
)

// senmlVector is an example of RFC 8428, and what the decoder's test has of it.
type senmlVector struct {
	name, format, payload string
	want                  []string
}

// senmlVectors returns the examples of RFC 8428 §5 and §6, as the decoder's tests have them.
func senmlVectors(t *testing.T) (all []senmlVector) {
	t.Helper()
	read := func(path string) string {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	files, err := filepath.Glob("../format/testdata/senml+*/rfc8428_*.want")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		base := strings.TrimSuffix(file, ".want")
		v := senmlVector{name: filepath.Base(base), format: filepath.Base(filepath.Dir(file))}
		if v.format == "senml+json" {
			v.payload = read(base + ".in")
		} else {
			var digits strings.Builder
			for line := range strings.Lines(read(base + ".hex")) {
				bytes, _, _ := strings.Cut(line, "#")
				digits.WriteString(strings.Join(strings.Fields(bytes), ""))
			}
			payload, err := hex.DecodeString(digits.String())
			if err != nil {
				t.Fatal(err)
			}
			v.payload = string(payload)
		}
		for line := range strings.Lines(read(file)) {
			if parts := strings.Split(strings.TrimSpace(line), " | "); len(parts) == 4 {
				_, value, _ := strings.Cut(parts[3], " ")
				if text, err := strconv.Unquote(value); err == nil {
					value = text
				}
				v.want = append(v.want, fmt.Sprintf("%s %s %s", parts[0], parts[1], value))
			}
		}
		if len(v.want) > 0 { // a stream that has no end (§4.8) is refused
			all = append(all, v)
		}
	}
	if len(all) < 12 {
		t.Fatalf("there are %d examples", len(all))
	}
	return all
}

// TestSenMLByEveryWay: each example of RFC 8428 gives the same readings by Berth frames, HTTP, MQTT 3.1.1 by a table of topics,
// MQTT 5 by content type, and CoAP by content format.
func TestSenMLByEveryWay(t *testing.T) {
	const gateway = "gw"
	formats := map[string]int{"senml+json": 110, "senml+cbor": 112}
	ways := map[string]func(t *testing.T, f *fixture) func(n int, v *senmlVector){
		"frames": func(t *testing.T, f *fixture) func(int, *senmlVector) {
			c := f.hello(t, gateway, enrolmentKey)
			return func(n int, v *senmlVector) {
				c.send(fmt.Sprintf("PUT %d %s %d\n%s", n, v.format, len(v.payload), v.payload))
				c.expect(fmt.Sprintf("ACK %d\n", n))
			}
		},
		"HTTP": func(t *testing.T, f *fixture) func(int, *senmlVector) {
			return func(_ int, v *senmlVector) {
				c := httpCase{path: "/api/v1/readings?gateway=" + gateway, header: typed("application/" + v.format)}
				if status, answer, _ := f.request(t, c, strings.NewReader(v.payload)); status != 204 {
					t.Errorf("%s is answered %d %s", v.name, status, answer)
				}
			}
		},
		"MQTT 3.1.1": func(t *testing.T, f *fixture) func(int, *senmlVector) {
			c := f.connect3(t, gateway, enrolmentKey, nil)
			return func(n int, v *senmlVector) {
				c.publish("packs/"+gateway+"/"+strings.TrimPrefix(v.format, "senml+"), 1, uint16(n), v.payload)
				if p, err := packets3.ReadPacket(c.in); err != nil || p.Details().MessageID != uint16(n) {
					t.Errorf("%s is answered %v, %v", v.name, p, err)
				}
			}
		},
		"MQTT 5": func(t *testing.T, f *fixture) func(int, *senmlVector) {
			c, _ := f.connect5(t, gateway, enrolmentKey, nil)
			return func(n int, v *senmlVector) {
				c.publish("readings/"+gateway, 1, uint16(n), v.payload, func(p *packets5.Publish) { p.Properties.ContentType = "application/" + v.format })
				c.expectPuback(uint16(n), 0)
			}
		},
		"CoAP": func(t *testing.T, f *fixture) func(int, *senmlVector) {
			c := f.dialCoAP(t)
			return func(_ int, v *senmlVector) {
				a := to(gateway, enrolmentKey, v.payload)
				a.format = formats[v.format]
				c.ask(a, "2.04")
			}
		},
	}
	vectors := senmlVectors(t)
	for name, begin := range ways {
		t.Run(name, func(t *testing.T) {
			f := start(t, func(f *fixture, _ *Options) {
				topics(f, nil)
				f.pipeline.Settings.Retention = 100 * 365 * 24 * time.Hour // the examples are of long ago
			})
			send := begin(t, f)
			var want []string
			for i, v := range vectors {
				send(i+1, &v)
				want = append(want, v.want...)
			}
			if diff := cmp.Diff(want, f.readings(t)); diff != "" {
				t.Error(diff)
			}
			f.books(t)
		})
	}
}
