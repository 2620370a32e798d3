package keyspacetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"berth/internal/keyspace"
	"berth/schema"
)

// testConcurrent writes from two goroutines while others read: what a Write has returned is seen at once, a tail and
// the blocks after it hold everything, and nothing is seen half.
func testConcurrent(t tb, s *space) {
	const rounds = 60
	w := s.writer(t)
	var written [2]atomic.Int64 // blocks of each writing goroutine that Write has returned for
	gateway := func(i int) string { return fmt.Sprintf("g%d", i) }
	ctx := t.Context()

	var writing, reading sync.WaitGroup
	done := make(chan struct{})
	fail := make(chan error, 10)
	for i := range written {
		writing.Go(func() {
			for n := range int64(rounds) {
				p := at(uint64(n+1), uint32(i))
				first := n * 20 * schema.HourSpan // over days and months
				_, err := w.Write(ctx, &keyspace.Changes{
					Blocks:   []keyspace.Block{block(gateway(i), first, first, p, p)},
					Gateways: []keyspace.Gateway{{Name: gateway(i), Position: p, Entry: fmt.Appendf(nil, "%d", n), Tail: fmt.Appendf(nil, "%d", n)}},
				})
				if err != nil {
					fail <- fmt.Errorf("write %d of %d: %w", n, i, err)
					return
				}
				written[i].Store(n + 1)
			}
		})
	}
	for j := range 3 {
		var r keyspace.Reader = w
		if j > 0 {
			r = s.reader(t)
		}
		reading.Go(func() {
			for last := false; !last; {
				select {
				case <-done:
					last = true
				default:
				}
				for i := range written {
					if err := checkRound(t, r, gateway(i), written[i].Load()); err != nil {
						fail <- fmt.Errorf("reader %d: %w", j, err)
						return
					}
				}
			}
		})
	}
	writing.Wait()
	close(done)
	reading.Wait()
	close(fail)
	for err := range fail {
		t.Error(err)
	}
	for i := range written {
		same(t, "blocks at the end", len(blocks(t, w, gateway(i), 0, rounds*schema.DaySpan)), rounds)
	}
}

// checkRound reads a gateway's row and then its blocks, of which at least as many as least are there.
func checkRound(t tb, r keyspace.Reader, gateway string, least int64) error {
	g, err := r.Gateway(t.Context(), gateway)
	switch {
	case schema.Is(err, schema.NotFound) && least == 0:
		return nil
	case err != nil:
		return err
	case string(g.Entry) != string(g.Tail):
		return fmt.Errorf("a row half of one write, half of another: %s and %s", g.Entry, g.Tail)
	}
	least = max(least, int64(g.Position.Sequence))
	seen, last := int64(0), int64(-1)
	err = r.Blocks(t.Context(), gateway, 0, 1000*schema.DaySpan, func(b keyspace.Block) error {
		n := b.First / (20 * schema.HourSpan)
		if n <= last {
			return fmt.Errorf("block %d of %s after block %d", n, gateway, last)
		}
		if last = n; n < least {
			seen++ // what is written meanwhile may be seen, or in part
		}
		if want := block(gateway, b.First, b.Last, b.From, b.To).Data; string(want) != string(b.Data) {
			return errors.New("a block with another's data")
		}
		return nil
	})
	if err == nil && seen < least {
		err = fmt.Errorf("%d blocks of %s are seen, %d were written", seen, gateway, least)
	}
	return err
}
