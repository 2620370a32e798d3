package format_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"berth/ingest/format"
	"berth/schema/batch"
	"berth/schema/record"
)

// trucks returns about size bytes of lines of a fleet, in the shape of the Time Series Benchmark Suite's IoT data: two
// kinds of lines with seven tags, of seven and three fields.
func trucks(size, fleet int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for n := 0; b.Len() < size; n++ {
		truck := n / 2 % fleet
		tags := fmt.Sprintf("name=truck_%d,fleet=%s,driver=%s,model=%s,device_version=v2.%d", truck,
			[]string{"South", "West", "North"}[truck%3], []string{"Trish", "Andy", "Rodney"}[truck%3], []string{"H-2", "F-150", "G-2000"}[truck%3], truck%4)
		at := now + int64(n/2/fleet)*10_000_000_000
		if n%2 == 0 {
			fmt.Fprintf(&b, "readings,%s,load_capacity=1500,fuel_capacity=150,nominal_fuel_consumption=12 latitude=%.5f,longitude=%.5f,elevation=%d,velocity=%d,heading=%d,grade=%d,fuel_consumption=%.1f %d\n",
				tags, random.Float64()*180-90, random.Float64()*360-180, random.IntN(500), random.IntN(100), random.IntN(360), random.IntN(100), random.Float64()*50, at)
		} else {
			fmt.Fprintf(&b, "diagnostics,%s,load_capacity=1500,fuel_capacity=150,nominal_fuel_consumption=12 fuel_state=%.1f,current_load=%d,status=%di %d\n",
				tags, random.Float64(), random.IntN(1500), random.IntN(6), at)
		}
	}
	return b.Bytes()
}

// objects returns about size bytes of an array of JSON objects of the same truck.
func objects(size int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	b.WriteByte('[')
	for n := 0; b.Len() < size; n++ {
		if n > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"ts":%d,"values":{"latitude":%.5f,"longitude":%.5f,"elevation":%d,"velocity":%d,"heading":%d,"grade":%d,"fuel_consumption":%.1f}}`,
			now/1e6+int64(n), random.Float64()*180-90, random.Float64()*360-180, random.IntN(500), random.IntN(100), random.IntN(360), random.IntN(100), random.Float64()*50)
	}
	b.WriteByte(']')
	return b.Bytes()
}

// records returns about size bytes of a SenML pack of the same truck: a record a reading, seven at each time.
func records(size int) modelPack {
	random := rand.New(rand.NewPCG(1, 2))
	var pack modelPack
	add := func(n int, name, unit, value string) {
		record := map[string]any{"n": name, "v": literal(value)}
		if unit != "" {
			record["u"] = unit
		}
		if len(pack) == 0 {
			record["bn"] = "urn:dev:mac:0024befffe804ff1:"
		}
		if n > 0 {
			record["t"] = literal(fmt.Sprint(n))
		}
		if len(pack)%7 == 0 {
			record["bt"] = literal(fmt.Sprint(now/1e9 - 100_000))
		}
		pack = append(pack, record)
	}
	for n := 0; len(pack)*45 < size; n++ {
		add(n, "latitude", "lat", fmt.Sprintf("%.5f", random.Float64()*180-90))
		add(n, "longitude", "lon", fmt.Sprintf("%.5f", random.Float64()*360-180))
		add(n, "elevation", "m", fmt.Sprint(random.IntN(500)))
		add(n, "velocity", "m/s", fmt.Sprint(random.IntN(100)))
		add(n, "heading", "deg", fmt.Sprint(random.IntN(360)))
		add(n, "grade", "", fmt.Sprint(random.IntN(100)))
		add(n, "fuel_consumption", "", fmt.Sprintf("%.1f", random.Float64()*50))
	}
	return pack
}

// truckRequest is a request of a relay for the fleet.
func truckRequest() *format.Request {
	settings := record.DefaultSettings()
	settings.GatewayTag = "name"
	settings.AttributeTags = []string{"fleet", "driver", "model", "device_version", "load_capacity", "fuel_capacity", "nominal_fuel_consumption"}
	return &format.Request{Sender: format.Sender{Gateway: "relay", Relay: true}, Now: now, Settings: &settings}
}

func BenchmarkDecode(b *testing.B) {
	one := bytes.IndexByte(trucks(1, 1), '\n') + 1
	for _, c := range []struct {
		name, format string
		payload      []byte
		request      *format.Request
	}{
		{"line/trucks=10", "line", trucks(256<<10, 10), truckRequest()},
		{"line/trucks=4000", "line", trucks(8<<20, 4000), truckRequest()},
		{"line/no_attributes", "line", trucks(256<<10, 100), relayRequest()},
		{"line/frame=1_line", "line", trucks(1, 1)[:one], truckRequest()},
		{"json/array", "json", objects(256 << 10), newRequest()},
		{"json/frame=1_object", "json", []byte(`{"temperature":21.5}`), newRequest()},
		{"senml+json/pack", "senml+json", records(256 << 10).asJSON(), newRequest()},
		{"senml+json/frame=1_record", "senml+json", []byte(`[{"n":"temperature","u":"Cel","v":21.5}]`), newRequest()},
		{"senml+cbor/pack", "senml+cbor", records(256 << 10).asCBOR(false), newRequest()},
		{"senml+cbor/frame=1_record", "senml+cbor", modelPack{{"n": "temperature", "u": "Cel", "v": literal("21.5")}}.asCBOR(false), newRequest()},
	} {
		b.Run(c.name, func(b *testing.B) {
			decoders := format.New(format.NewTable(format.TableOptions{}))
			out := &batch.Rows{}
			report, err := decoders.Decode(c.format, c.payload, c.request, out)
			if err != nil || report.Rejected > 0 {
				b.Fatalf("%v %+v", err, report)
			}
			b.SetBytes(int64(len(c.payload)))
			b.ReportAllocs()
			for b.Loop() {
				out.Reset()
				if _, err := decoders.Decode(c.format, c.payload, c.request, out); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(out.Readings())*float64(b.N)/b.Elapsed().Seconds(), "readings/s")
		})
	}
}
