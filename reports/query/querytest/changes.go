package querytest

import (
	"slices"
	"strings"

	"berth/internal/headapi"
	"berth/schema/catalog"
)

// Changes is what a Head tells of changes. The zero value tells nothing, as the release did that knew nothing of them.
type Changes struct {
	Now    int64            // of the last answer; 0: nothing is told
	Of     map[string]int64 // by gateway
	Untold int64            // what changed up to here is not told
	Clean  []*catalog.Entry // of gateways whose rows are as new
	Asked  int              // how often head.gateways was asked for all
	Told   int              // how many have been said to have changed
}

// Note notes that a gateway has changed.
func (c *Changes) Note(gateway string) {
	if c.Of == nil {
		c.Of = map[string]int64{}
	}
	c.Of[gateway] = c.Now
}

// begin begins an answer.
func (c *Changes) begin(q *headapi.GatewaysRequest, said *headapi.Header) {
	if q.Since == 0 && q.Names == nil {
		c.Asked++
	}
	if c.Now == 0 {
		return
	}
	said.Missed = q.Since != 0 && (q.Since <= c.Untold || q.Since > c.Now)
	c.Now++
	said.Change = c.Now
}

// chunks returns the entries that are asked for, in order of their names.
func (c *Changes) chunks(newer []*catalog.Entry, q *headapi.GatewaysRequest, missed bool) (chunks [][]byte) {
	all := slices.Clone(newer)
	if c.Now != 0 && q.Since != 0 {
		all = slices.DeleteFunc(append(all, c.Clean...), func(e *catalog.Entry) bool { return c.Of[e.Gateway] < q.Since })
	}
	slices.SortFunc(all, func(a, b *catalog.Entry) int { return strings.Compare(a.Gateway, b.Gateway) })
	for _, e := range all {
		if e.Gateway > q.After && !missed && len(chunks) < q.Limit && (len(q.Names) == 0 || slices.Contains(q.Names, e.Gateway)) {
			said := *e
			if q.Since != 0 {
				said.Attributes, said.Latest = nil, nil
			}
			chunks = append(chunks, catalog.EncodeEntry(nil, &said))
		}
	}
	if q.Since != 0 {
		c.Told += len(chunks)
	}
	return chunks
}
