package packet

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// datagram reads what testdata has: bytes in hex, and texts in apostrophes.
func datagram(t testing.TB, text string) []byte {
	t.Helper()
	var b []byte
	for i, part := range strings.Split(strings.TrimSpace(text), "'") {
		if i%2 == 1 {
			b = append(b, part...)
			continue
		}
		raw, err := hex.DecodeString(strings.ReplaceAll(part, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, raw...)
	}
	return b
}

// shown returns a message as testdata has it.
func shown(m *Message) string {
	s := fmt.Sprintf("%s %s %04x token=%x", [...]string{"CON", "NON", "ACK", "RST"}[m.Type], m.Code, m.ID, m.Token)
	path := ""
	m.Path(func(segment []byte) bool { path += "/" + string(segment); return true })
	if path != "" {
		s += " path=" + path
	}
	if len(m.Payload) > 0 {
		s += fmt.Sprintf(" payload=%q", m.Payload)
	}
	return s
}

// TestExamplesOfTheStandard reads the messages of RFC 7252, appendix A, and writes those that are answers again.
func TestExamplesOfTheStandard(t *testing.T) {
	files, err := filepath.Glob("testdata/rfc7252/*.in")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(strings.TrimSuffix(file, ".in") + ".want")
		if err != nil {
			t.Fatal(err)
		}
		data := datagram(t, string(text))
		var m Message
		if err := Read(data, &m); err != nil || m.Bad != 0 {
			t.Errorf("%s: %v, option %d", file, err, m.Bad)
		}
		if got := shown(&m); got != strings.TrimSpace(string(want)) {
			t.Errorf("%s: %s, want %s", file, got, want)
		}
		if m.Code.Class() == 0 && m.Code != Empty {
			continue
		}
		a := Answer{Type: m.Type, Code: m.Code, ID: m.ID, Token: m.Token, Payload: string(m.Payload)}
		if got := Append(nil, &a, 1000); !bytes.Equal(got, data) {
			t.Errorf("%s is written %x, want %x", file, got, data)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		name, data string
		bad        uint16
		err        error
	}{
		{"none", "40020001", 0, nil},
		{"critical and unknown", "4002000190", 9, nil},
		{"elective and unknown", "4002000160", 0, nil},
		{"of a number with two bytes", "40020001e0fe00", 0xfe00 + 269, nil},
		{"of a number beyond all", "40020001e0ffff", 0, ErrFormat},
		{"Block1 of four bytes", "40020001d40e00000000", 27, nil},
		{"Content-Format of three bytes", "40020001c3000000", 0, nil}, // elective: it is ignored
		{"Block1 twice", "40020001d10e0800", 27, nil},
		{"Uri-Path twice", "40020001b0" + "00", 0, nil},
		{"41 options", "40020001" + strings.Repeat("00", 0) + "b0" + strings.Repeat("00", 40), 0, ErrFormat},
		{"a value that ends like a marker", "40020001b1ff", 0, nil},
		{"a marker after an empty option", "40020001b0ff", 0, ErrFormat},
		{"a marker alone", "40020001ff", 0, ErrFormat},
	} {
		data, err := hex.DecodeString(c.data)
		if err != nil {
			t.Fatal(err)
		}
		var m Message
		if err := Read(data, &m); !errors.Is(err, c.err) || err == nil && m.Bad != c.bad {
			t.Errorf("%s: %v, option %d, want %v, %d", c.name, err, m.Bad, c.err, c.bad)
		}
	}
}

// TestAnswersAreShort: a payload is cut at a whole character, and options are there in any case.
func TestAnswersAreShort(t *testing.T) {
	a := Answer{Type: Acknowledgement, Code: Unavailable, ID: 1, Token: []byte("12345678"), MaxAge: 5, Payload: "ä long teäxt"}
	for most := range 40 {
		data := Append(nil, &a, most)
		var m Message
		if err := Read(data, &m); err != nil || len(data) > max(most, 15) || !strings.HasPrefix(a.Payload, string(m.Payload)) {
			t.Errorf("%d: %x, %v", most, data, err)
		}
		if !bytes.Equal([]byte(strings.ToValidUTF8(string(m.Payload), "?")), m.Payload) {
			t.Errorf("%q is cut within a character", m.Payload)
		}
	}
}

// FuzzRead: whatever comes, what is read of it is within it, and no option is both kept and not allowed.
func FuzzRead(f *testing.F) {
	files, err := filepath.Glob("testdata/rfc7252/*.in")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(datagram(f, string(text)))
	}
	f.Add([]byte("\x44\x02\x00\x01abcd\xb8readings\x01g\x45key=x\xd1\x00\x08\xff{}"))
	var m Message
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := Read(data, &m); err != nil {
			return
		}
		size := 4 + len(m.Token) + len(m.Payload)
		for i, o := range m.options {
			size += len(o.Value)
			if r := rules[o.ID]; r.longest == 0 && o.ID != 0 || len(o.Value) > r.longest || len(o.Value) < r.shortest || i > 0 && o.ID < m.options[i-1].ID {
				t.Errorf("option %d is %x", o.ID, o.Value)
			}
		}
		if size > len(data) {
			t.Errorf("%d bytes were read of %d", size, len(data))
		}
		_, _ = m.Block()
		_, _ = m.ContentFormat()
		m.Query("key")
		a := Answer{Type: m.Type, Code: m.Code, ID: m.ID, Token: m.Token, Payload: string(m.Payload)}
		var back Message
		if m.Code != Empty {
			if err := Read(Append(nil, &a, 1<<20), &back); err != nil || !bytes.Equal(back.Token, m.Token) || !bytes.Equal(back.Payload, m.Payload) {
				t.Errorf("%x is read back as %+v, %v", data, back, err)
			}
		}
	})
}

func BenchmarkRead(b *testing.B) {
	data := []byte("\x44\x02\x00\x01abcd\xb8readings\x08gateway1\x4akey=bk_012\xff{\"a\":21.5}")
	var m Message
	b.ReportAllocs()
	for b.Loop() {
		_ = Read(data, &m)
	}
}
