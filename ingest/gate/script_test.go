package gate

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A script is a conversation: lines "C: …" are what the client says, "S: …" what the server answers, "S~ …" how its
// answer begins, "R: …" what is in the log in the end. \n, \r and \t stand for themselves; what the client says has no
// line end but those. At the end the client closes its side.
type script struct {
	name     string
	steps    []step
	readings []string
}

type step struct {
	server bool
	prefix bool
	text   string
}

func scripts(t *testing.T) []script {
	t.Helper()
	files, err := filepath.Glob("testdata/*.script")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	var all []script
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s := script{name: strings.TrimSuffix(filepath.Base(file), ".script")}
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSuffix(line, "\n")
			kind, rest, _ := strings.Cut(line, " ")
			switch kind {
			case "C:":
				said, err := strconv.Unquote(`"` + strings.ReplaceAll(rest, `"`, `\"`) + `"`)
				if err != nil {
					t.Fatalf("%s: %q: %v", file, line, err)
				}
				s.steps = append(s.steps, step{text: said})
			case "S:", "S~":
				s.steps = append(s.steps, step{server: true, prefix: kind == "S~", text: rest})
			case "R:":
				s.readings = append(s.readings, rest)
			case "#", "":
			default:
				t.Fatalf("%s: %q is no line of a script", file, line)
			}
		}
		all = append(all, s)
	}
	return all
}

func TestScripts(t *testing.T) {
	for _, s := range scripts(t) {
		t.Run(s.name, func(t *testing.T) {
			f := start(t, nil)
			c := f.dial(t)
			for _, step := range s.steps {
				switch {
				case !step.server:
					c.send(step.text)
				case step.prefix:
					c.expect(step.text)
				default:
					c.expect(step.text + "\n")
				}
			}
			_ = c.CloseWrite()
			c.expectEnd()
			if diff := cmp.Diff(s.readings, f.readings(t)); diff != "" {
				t.Error(diff)
			}
			f.books(t)
		})
	}
}

// cutConn is a connection whose reads never go beyond a place, and after it by one byte each if every is set.
type cutConn struct {
	*net.TCPConn
	left  int
	every bool
}

func (c *cutConn) Read(p []byte) (int, error) {
	switch {
	case c.every:
		p = p[:min(1, len(p))]
	case c.left > 0:
		p = p[:min(c.left, len(p))]
	}
	n, err := c.TCPConn.Read(p)
	c.left -= n
	return n, err
}

// TestScriptsCutAnywhere sends what the client says at once, in two parts that are cut at every byte, and byte by byte,
// and expects the same answers and the same readings.
func TestScriptsCutAnywhere(t *testing.T) {
	for _, s := range scripts(t) {
		t.Run(s.name, func(t *testing.T) {
			var said, answers strings.Builder
			for _, step := range s.steps {
				switch {
				case !step.server:
					said.WriteString(step.text)
				case step.prefix:
					fmt.Fprintln(&answers, step.text, "…")
				default:
					fmt.Fprintln(&answers, step.text)
				}
			}
			want := meaning(answers.String())
			for cut := 0; cut <= said.Len(); cut++ {
				f := start(t, nil)
				got := meaning(f.talk(t, said.String(), func(c *net.TCPConn) net.Conn {
					return &cutConn{TCPConn: c, left: cut, every: cut == 0}
				}))
				if diff := cmp.Diff(want, got, cmp.Comparer(sameAnswer)); diff != "" {
					t.Fatalf("cut at %d: %s", cut, diff)
				}
				if diff := cmp.Diff(s.readings, f.readings(t)); diff != "" {
					t.Fatalf("cut at %d: %s", cut, diff)
				}
				f.books(t)
				f.stop(t)
			}
		})
	}
}

// sameAnswer compares answers of which one may be the beginning of the other, marked by dots.
func sameAnswer(a, b string) bool {
	if begin, ok := strings.CutSuffix(a, " …"); ok {
		return strings.HasPrefix(b, begin)
	}
	if begin, ok := strings.CutSuffix(b, " …"); ok {
		return strings.HasPrefix(a, begin)
	}
	return a == b
}

// talk says it all at once and returns all answers. The server's side of the connection is what wrap makes of it.
func (f *fixture) talk(t testing.TB, said string, wrap func(c *net.TCPConn) net.Conn) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	c, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	tcp, ok := raw.(*net.TCPConn)
	ours, ok2 := c.(*net.TCPConn)
	if !ok || !ok2 {
		t.Fatal("no TCP")
	}
	f.admit(wrap(tcp))
	if _, err := io.WriteString(c, said); err != nil {
		t.Fatal(err)
	}
	_ = ours.CloseWrite()
	answers, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("after %q: %v", answers, err)
	}
	return string(answers)
}

// meaning returns what answers mean: for each frame its own, whatever ACK it was answered by, then the others in order.
func meaning(answers string) map[string]string {
	means := map[string]string{}
	naks, acked, others := map[uint64]bool{}, uint64(0), 0
	for line := range strings.Lines(answers) {
		line = strings.TrimSuffix(line, "\n")
		word, rest, _ := strings.Cut(line, " ")
		number, _, _ := strings.Cut(rest, " ")
		seq, err := strconv.ParseUint(number, 10, 64)
		switch {
		case err == nil && word == "ACK":
			for ; acked < seq; acked++ {
				if !naks[acked+1] {
					means[fmt.Sprint(acked+1)] = "ACK"
				}
			}
		case err == nil && word == "NAK":
			naks[seq] = true
			means[number] = line
		case word == "PONG": // its place among ACKs is nowhere in particular
			means["PONG"] += "."
		default:
			others++
			means[fmt.Sprintf("other %d", others)] = line
		}
	}
	return means
}
