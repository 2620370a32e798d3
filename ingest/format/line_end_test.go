package format

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"berth/schema/batch"
	"berth/schema/record"
)

// rowsOf decodes line protocol at once, or in pieces that are cut by WholeLines out of buffers of the given size.
func rowsOf(t *testing.T, data string, size int) (rows []string, rejected int) {
	t.Helper()
	decoders := New(NewTable(TableOptions{}))
	settings := record.DefaultSettings()
	request := Request{Sender: Sender{Gateway: "g"}, Now: time.Now().UnixNano(), Settings: &settings}
	for len(data) > 0 {
		piece := data
		if size < len(data) {
			piece = data[:WholeLines([]byte(data[:size]))]
			if piece == "" { // a line that is longer
				size *= 2
				continue
			}
		}
		data = data[len(piece):]
		var out batch.Rows
		report, err := decoders.Decode("line", []byte(piece), &request, &out)
		if err != nil {
			t.Fatal(err)
		}
		rejected += report.Rejected
		for _, row := range out.Rows {
			for i, sensor := range row.Shape.Sensors {
				rows = append(rows, fmt.Sprintf("%s %v", sensor, out.Value(int(row.First)+i, row.Shape.Kinds[i])))
			}
		}
	}
	return rows, rejected
}

// FuzzWholeLines: a body that is taken in pieces means what it means at once.
func FuzzWholeLines(f *testing.F) {
	for _, seed := range []string{
		"m a=1\nm b=2\n", "m a=\"x\ny\"\nm b=2\n", "m,t=\"q a=1\nm b=\"\\\"\n\",c=1\n# \"\nm d=\"\\\\\"\n", " \t\r\nm a=1", "m\\ n a=\"b\n c\"\n", "\"\nm a=1\n",
		"m a=1 \"\nm b=\"\n\"\n", "m x\\=\"=1\nm a=2\n", "m  a=\"\n\"\n",
	} {
		f.Add(seed, 8)
	}
	f.Fuzz(func(t *testing.T, data string, size int) {
		if size < 1 || size > 1<<10 || len(data) > 1<<12 {
			return
		}
		want, refused := rowsOf(t, data, len(data))
		got, refusedInPieces := rowsOf(t, data, size)
		if strings.Join(want, "|") != strings.Join(got, "|") || refused != refusedInPieces {
			t.Errorf("%q in pieces of %d: %q and %d refused, want %q and %d", data, size, got, refusedInPieces, want, refused)
		}
	})
}

func BenchmarkWholeLines(b *testing.B) {
	for name, line := range map[string]string{"plain": "weather,place=berlin temperature=21.5\n", "text": "weather,place=berlin temperature=21.5,note=\"fine\"\n"} {
		b.Run(name, func(b *testing.B) {
			data := []byte(strings.Repeat(line, 256<<10/len(line)))
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				WholeLines(data)
			}
		})
	}
}
