package bus

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// world is a model of JetStream and of connections to it, under a chain: what was sent over a connection that broke may
// still be processed, later than what was sent after it, and its answers are lost.
type world struct {
	chain     *chain
	log       []string       // ids, by sequence - 1
	known     map[string]int // the duplicate window: id to sequence
	full      bool
	lines     [][]sent // connections with what is under way to the server; the last is the present one
	answers   []reply  // under way from the server over the present connection
	asked     *reading // the last message as it was when it was read, under way to the chain
	submitted int
	confirmed []uint64 // sequences, by number - 1
	claimed   bool     // another instance has claimed the log
}

type sent struct {
	id, expected    string
	sending, number uint64
}

type reply struct {
	sending, number uint64
	verdict         verdict
	sequence        uint64
}

type reading struct {
	id       string
	sequence uint64
	room     bool
}

func newWorld() *world {
	return &world{chain: newChain("me", 1), log: []string{"me.0"}, known: map[string]int{"me.0": 1}, lines: [][]sent{nil}}
}

func (w *world) pump() {
	for {
		s, id, expected := w.chain.unsent()
		if s == nil {
			return
		}
		n := len(w.lines) - 1
		w.lines[n] = append(w.lines[n], sent{id, expected, w.chain.sending, s.number})
		w.chain.markSent()
	}
}

func (w *world) take(confirmed []Confirmed) {
	for _, c := range confirmed {
		w.confirmed = append(w.confirmed, c.Sequence)
	}
	w.pump()
}

// process lets the server take the next message of a connection.
func (w *world) process(line int) {
	m := w.lines[line][0]
	w.lines[line] = w.lines[line][1:]
	r := reply{sending: m.sending, number: m.number}
	switch {
	case w.known[m.id] > 0:
		r.verdict, r.sequence = stored, uint64(w.known[m.id])
	case w.log[len(w.log)-1] != m.expected:
		r.verdict = refused
	case w.full:
		r.verdict = noRoom
	default:
		w.log = append(w.log, m.id)
		w.known[m.id] = len(w.log)
		r.verdict, r.sequence = stored, uint64(len(w.log))
	}
	if line == len(w.lines)-1 {
		w.answers = append(w.answers, r)
	}
}

func (w *world) hear() {
	r := w.answers[0]
	w.answers = w.answers[1:]
	w.take(w.chain.answered(r.sending, r.number, r.verdict, r.sequence))
}

func (w *world) read() {
	w.asked = &reading{w.log[len(w.log)-1], uint64(len(w.log)), !w.full}
}

func (w *world) tell() {
	r := w.asked
	w.asked = nil
	w.take(w.chain.told(r.id, r.sequence, r.room))
}

// check is what must hold at every moment.
func (w *world) check(t *rapid.T) {
	for i, seq := range w.confirmed {
		if want := fmt.Sprint("me.", i+1); w.log[seq-1] != want {
			t.Fatalf("batch %d was confirmed at %d, where the log has %s", i+1, seq, w.log[seq-1])
		}
	}
	next := 1
	for _, id := range w.log[1:] {
		if !strings.HasPrefix(id, "me.") {
			continue
		}
		if id != fmt.Sprint("me.", next) {
			t.Fatalf("the log is %v", w.log)
		}
		next++
	}
	if w.chain.phase == over && !w.claimed {
		t.Fatalf("a take-over by nobody; the log is %v", w.log)
	}
}

// settle lets everything arrive, without further trouble, and then all must be confirmed, or the take-over noticed.
func (w *world) settle(t *rapid.T) {
	w.full = false
	for range 10_000 {
		switch line := slices.IndexFunc(w.lines, func(l []sent) bool { return len(l) > 0 }); {
		case line >= 0:
			w.process(line)
		case len(w.answers) > 0:
			w.hear()
		case w.asked != nil:
			w.tell()
		case w.chain.phase == asking:
			w.read()
		case w.chain.phase == full:
			w.chain.resume()
			w.chain.ask()
		case w.chain.phase == pausing:
			w.chain.resume()
			w.pump()
		case w.chain.phase == over:
			return
		case len(w.chain.slots) > 0: // an answer was lost
			w.chain.doubt()
		default:
			if len(w.confirmed) != w.submitted {
				t.Fatalf("%d of %d are confirmed", len(w.confirmed), w.submitted)
			}
			return
		}
		w.check(t)
	}
	t.Fatalf("it does not come to rest: phase %d, %d of %d confirmed, the log is %v",
		w.chain.phase, len(w.confirmed), w.submitted, w.log)
}

// TestChain drives the state machine through every trouble that JetStream and connections can make.
func TestChain(t *testing.T) {
	for range 50 { // a round is 100 runs unless -rapid.checks says otherwise; some troubles are seldom
		rapid.Check(t, checkChain)
	}
}

func checkChain(t *rapid.T) {
	w := newWorld()
	unless := func(idle bool) {
		if idle {
			t.Skip("nothing to do")
		}
	}
	process := func(t *rapid.T) {
		line := rapid.IntRange(0, len(w.lines)-1).Draw(t, "line")
		unless(len(w.lines[line]) == 0)
		w.process(line)
	}
	hear := func(*rapid.T) {
		unless(len(w.answers) == 0)
		w.hear()
	}
	t.Repeat(map[string]func(*rapid.T){
		"": w.check,
		"append": func(*rapid.T) {
			unless(len(w.chain.slots) >= Window || w.chain.phase == over)
			w.submitted++
			w.chain.add(nil)
			w.pump()
		},
		"process": process, "process more": process,
		"hear": hear, "hear more": hear,
		"break the connection": func(*rapid.T) {
			w.answers = nil
			w.lines = append(w.lines, nil)
			w.chain.doubt()
		},
		"lose an answer": func(*rapid.T) {
			unless(len(w.answers) == 0)
			w.answers = w.answers[1:]
		},
		"time out": func(*rapid.T) { w.chain.doubt() },
		"fail": func(*rapid.T) {
			unless(w.chain.sent == 0 || len(w.chain.slots) == 0)
			w.take(w.chain.answered(w.chain.sending, w.chain.slots[0].number, failure, 0))
		},
		"resume": func(*rapid.T) {
			unless(w.chain.phase != pausing && w.chain.phase != full)
			again := w.chain.phase == full
			w.chain.resume()
			if again {
				w.chain.ask()
			}
			w.pump()
		},
		"resume though flowing": func(*rapid.T) { // a reconnect was noticed late
			unless(w.chain.phase != flowing)
			w.chain.resume()
			w.pump()
		},
		"idle": func(*rapid.T) { w.chain.ask() },
		"read": func(*rapid.T) {
			unless(w.chain.phase != asking || w.asked != nil)
			w.read()
		},
		"tell": func(*rapid.T) {
			unless(w.asked == nil)
			w.tell()
		},
		"fill":   func(*rapid.T) { w.full = true },
		"free":   func(*rapid.T) { w.full = false },
		"forget": func(*rapid.T) { clear(w.known) },
		"claim": func(t *rapid.T) {
			unless(rapid.IntRange(0, 9).Draw(t, "seldom") > 0)
			w.claimed = true
			w.log = append(w.log, "other.0")
		},
	})
	w.settle(t)
}

// TestWhatEndsAChain: whatever the log says that this chain cannot have made of it, it is not the chain's alone any more.
func TestWhatEndsAChain(t *testing.T) {
	asking := func() *chain { // about the log's last message, with one batch confirmed and one sent
		c := newChain("me", 1)
		for range 2 {
			c.add(nil)
			c.markSent()
		}
		if got := c.answered(0, 1, stored, 2); len(got) != 1 || got[0].Sequence != 2 {
			t.Fatalf("confirmed %v", got)
		}
		c.ask()
		return c
	}
	for _, c := range []struct {
		id       string
		sequence uint64
		over     bool
	}{
		{"me.1", 2, false},   // what was confirmed last
		{"me.2", 3, false},   // what was sent
		{"me.0", 1, true},    // the log ends before what was confirmed
		{"me.1", 7, true},    // it is another log
		{"me.3", 4, true},    // nobody has sent it
		{"other.0", 3, true}, // another instance has claimed it
		{"me", 3, true},
	} {
		chain := asking()
		confirmed := chain.told(c.id, c.sequence, true)
		if (chain.phase == over) != c.over || c.over && len(confirmed) > 0 {
			t.Errorf("told that the log ends with %s at %d the phase is %d, confirmed %v", c.id, c.sequence, chain.phase, confirmed)
		}
	}
	c := newChain("me", 1)
	c.add(nil)
	c.markSent()
	if confirmed := c.answered(0, 1, stored, 3); c.phase != over || len(confirmed) > 0 {
		t.Errorf("a batch is stored behind something else: phase %d, confirmed %v", c.phase, confirmed)
	}
}

// TestAnswersToAnEarlierSending: its refusals say nothing of the present one; that something is stored stays true.
func TestAnswersToAnEarlierSending(t *testing.T) {
	c := newChain("me", 1)
	for range 2 {
		c.add(nil)
	}
	c.doubt()
	c.resume()
	for _, v := range []verdict{refused, noRoom, failure} {
		if c.answered(0, 1, v, 0); c.phase != flowing || c.slots[0].verdict != unanswered {
			t.Errorf("after the refusal %d of an earlier sending the phase is %d", v, c.phase)
		}
	}
	c.answered(0, 2, stored, 3)
	c.doubt()
	c.resume()
	if got := c.answered(0, 1, stored, 2); len(got) != 2 || got[0].Sequence != 2 || got[1].Sequence != 3 {
		t.Errorf("confirmed %v", got)
	}
}
