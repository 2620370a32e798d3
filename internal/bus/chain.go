package bus

import (
	"strconv"
	"strings"
)

// chain is the state machine of a [Writer]. Each batch has a number and the message id "<claim>.<number>", and names as
// the message that it expects to be last the id of the batch before it; the first names the claim, number 0. So the log
// takes a batch only directly behind its predecessor, and a batch sent twice once. All batches that are not confirmed
// are sent together, a sending; after any doubt all are sent again, in order, with the same ids: a new sending.
//
//	what is learned                                   what it means, and what is done
//	stored, or duplicate, of any sending              it is in the log: confirmed when it is the oldest
//	  but not directly behind the one before it       the log is not ours alone: over
//	refused for the quota, the oldest                 it is not stored: full, until told to try again
//	refused by the chain, the oldest                  something else is last in the log: ask for the last message
//	refused, not the oldest                           what becomes of the oldest decides: wait
//	any refusal of an earlier sending                 outdated: ignored
//	another error, no answer in time, server away     unknown: after a pause, or when the server is back, send again
//	the log's last message is one of the unanswered   it and all before it are stored: confirm them, send the rest again
//	the log's last message is the newest confirmed    none of the rest is stored: send again
//	the log's last message is any other               another instance has claimed the log: over, for good
//
// The last message is also asked for when there is nothing to send for a while, so that an idle instance learns of a
// take-over, and when the next batch may not fit: a little room is left so that a claim always does.
//
// In a cluster a replica does not learn the last message's id when it is given messages that it has missed: it would
// refuse what the others take from then on, and the stream's replicas come apart. There each batch names the sequence of
// the message before it instead, which the stream's leader alone checks. Since of two that are in flight by sequences the
// second could slip in behind another instance's claim, only the oldest is sent: the chain is serial.
//
// It does no input or output, and is guarded by the Writer's mutex.
type chain struct {
	claim   string
	serial  bool // one batch is in flight at a time, and names the sequence before it
	phase   phase
	sending uint64 // numbers the sendings
	slots   []slot // not confirmed, oldest first, their numbers consecutive
	sent    int    // how many of slots the present sending has sent
	last    link   // the newest confirmed
	asked   link   // the newest confirmed when the log's last message was asked for
	gained  int    // bytes of data confirmed, until the Writer takes note
}

// phase is what a chain is about to do.
type phase uint8

const (
	flowing phase = iota // sends what is not sent, and waits for answers
	pausing              // waits a little, or for the server, before it sends all again
	asking               // waits to be told the log's last message
	full                 // waits to be told to try again
	over                 // nothing, for good
)

// link is a message of the chain that is in the log.
type link struct{ number, sequence uint64 }

// slot is a batch that is not confirmed, with what was answered to it.
type slot struct {
	number   uint64
	data     []byte
	verdict  verdict
	sequence uint64 // if stored
}

// verdict is an answer to a batch.
type verdict uint8

const (
	unanswered verdict = iota
	stored             // now or before
	refused            // by the chain
	noRoom             // by the quota
	failure            // anything else
)

func newChain(claim string, sequence uint64) *chain {
	return &chain{claim: claim, last: link{0, sequence}}
}

func (c *chain) id(number uint64) string { return c.claim + "." + strconv.FormatUint(number, 10) }

// add takes a batch.
func (c *chain) add(data []byte) {
	c.slots = append(c.slots, slot{number: c.last.number + uint64(len(c.slots)) + 1, data: data})
}

// unsent returns the next batch to send in the present sending, with its own id and the id that it expects last; nil
// when there is none now. markSent says that it was sent.
func (c *chain) unsent() (s *slot, id, expected string) {
	if c.phase != flowing || c.sent >= len(c.slots) || c.serial && c.sent > 0 {
		return nil, "", ""
	}
	s = &c.slots[c.sent]
	return s, c.id(s.number), c.id(s.number - 1)
}

func (c *chain) markSent() { c.sent++ }

// answered takes the answer to a batch and returns what is confirmed by it.
func (c *chain) answered(sending, number uint64, v verdict, sequence uint64) []Confirmed {
	if number <= c.last.number || number > c.last.number+uint64(len(c.slots)) || c.phase == over {
		return nil
	}
	s := &c.slots[number-c.last.number-1]
	switch {
	case v == stored:
		s.verdict, s.sequence = stored, sequence
	case sending != c.sending || s.verdict == stored:
		return nil
	default:
		s.verdict = v
	}
	return c.settle()
}

// settle confirms the oldest as far as they are stored, and decides by the answer to the next.
func (c *chain) settle() []Confirmed {
	var confirmed []Confirmed
	for len(c.slots) > 0 && c.slots[0].verdict == stored {
		s := c.slots[0]
		if s.sequence != c.last.sequence+1 {
			c.phase = over
			return confirmed
		}
		c.last = link{s.number, s.sequence}
		c.gained += len(s.data) + messageOverhead
		c.slots[0] = slot{} // lets the data go
		c.slots = c.slots[1:]
		c.sent = max(c.sent-1, 0)
		confirmed = append(confirmed, Confirmed{Sequence: s.sequence})
	}
	if len(c.slots) == 0 || c.phase != flowing {
		return confirmed
	}
	switch c.slots[0].verdict {
	case refused:
		c.ask()
	case noRoom:
		c.phase = full
	case failure:
		c.phase = pausing
	case unanswered, stored:
	}
	return confirmed
}

// doubt says that the outcome of what was sent is unknown; resume sends it again. What is asking will learn it anyway.
func (c *chain) doubt() {
	if c.phase == flowing {
		c.phase = pausing
	}
}

// ask asks for the log's last message before anything more is sent.
func (c *chain) ask() {
	if c.phase == flowing {
		c.phase, c.asked = asking, c.last
	}
}

// resume begins a new sending of all that is not confirmed, after a pause, or when told to try again.
func (c *chain) resume() {
	if c.phase == over {
		return
	}
	c.phase = flowing
	c.sending++
	c.sent = 0
	for i := range c.slots {
		if c.slots[i].verdict != stored {
			c.slots[i].verdict = unanswered
		}
	}
}

// told takes what was the log's last message some time after it was asked for (a batch of an earlier sending may have
// arrived since), and whether there is room for the oldest batch.
func (c *chain) told(id string, sequence uint64, room bool) []Confirmed {
	if c.phase != asking {
		return nil
	}
	number, ours := c.numberOf(id)
	newest := c.last.number + uint64(len(c.slots))
	if !ours || number < c.asked.number || number > newest || number == c.asked.number && sequence != c.asked.sequence {
		c.phase = over
		return nil
	}
	for i := range c.slots {
		if s := &c.slots[i]; s.number <= number {
			s.verdict, s.sequence = stored, sequence-(number-s.number)
		}
	}
	confirmed := c.settle()
	if c.phase == over {
		return confirmed
	}
	c.resume()
	if !room && len(c.slots) > 0 {
		c.phase = full
	}
	return confirmed
}

func (c *chain) numberOf(id string) (number uint64, ours bool) {
	text, ok := strings.CutPrefix(id, c.claim+".")
	if !ok {
		return 0, false
	}
	number, err := strconv.ParseUint(text, 10, 64)
	return number, err == nil
}
