package query

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/internal/api"
	"berth/internal/headapi"
	"berth/schema"
	"berth/schema/catalog"
)

// What a list of gateways may ask for.
const (
	DefaultGateways = 100
	MostGateways    = 1000
)

// GatewaysRequest asks for a page of gateways in an order.
type GatewaysRequest struct {
	After  string    // what the page before gave as next
	Limit  int       // 1 to MostGateways; 0 is DefaultGateways
	Search string    // only names that contain it, in any case
	State  api.State // only those in it; empty: in any
	Day    bool      // with how each was in each hour of the last day
	Sort   string    // one of api.Orders, those with - the other way round; empty: by name
	Choice
}

// check fills in defaults and returns an Invalid error for what cannot be asked.
func (q *GatewaysRequest) check() error {
	if q.Limit == 0 {
		q.Limit = DefaultGateways
	}
	switch {
	case q.Limit < 1 || q.Limit > MostGateways:
		return schema.Errorf(schema.Invalid, "%d gateways a page are not between 1 and %d", q.Limit, MostGateways)
	case q.State != "" && !slices.Contains(api.States(), q.State):
		return schema.Errorf(schema.Invalid, "%q is no state of a gateway", q.State).WithNext("use online, late, offline or never")
	case q.Sort != "" && !slices.Contains(api.Orders(), strings.TrimPrefix(q.Sort, "-")):
		return schema.Errorf(schema.Invalid, "gateways have no order %q", q.Sort).WithNext("use %s, with - before it for the other way round", strings.Join(api.Orders(), ", "))
	}
	return nil
}

// Gateways answers with a page of gateways: those of the catalog, those that only the head knows yet, and those that
// have a key and have never sent. In another order than that of names all are looked at for each page, and what they are ordered
// by changes: a gateway that changes its place between two pages may be on both, or on none.
func (e *Engine) Gateways(ctx context.Context, q GatewaysRequest) (*api.Gateways, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	return e.list(ctx, &q, q.Limit)
}

// AllGateways is Gateways and answers with all that follow, as they are at one moment, in as much memory as they take.
func (e *Engine) AllGateways(ctx context.Context, q GatewaysRequest) (*api.Gateways, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	return e.list(ctx, &q, math.MaxInt32)
}

// list answers with the first limit gateways that follow.
func (e *Engine) list(ctx context.Context, q *GatewaysRequest, limit int) (*api.Gateways, error) {
	rejects := e.rejects(ctx)
	s := e.orderOf(q.Sort, rejects)
	after, err := s.placeOf(q.After)
	if err != nil {
		return nil, err
	}
	var best []listed // in order, one more than wanted: it tells whether a next page has anything
	damaged := damage{engine: e}
	complete, err := e.walk(ctx, q, after.name, s, limit, &damaged, func(o *outline) bool {
		one := listed{place{s.key(&o.Entry), o.Gateway}, o}
		if q.After != "" && s.compare(one.place, after) <= 0 {
			return true
		}
		best = append(best, one)
		if s.names && !s.down {
			return len(best) <= limit
		}
		if len(best) > 2*limit+8 {
			best = s.first(best, limit+1)
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	best = s.first(best, limit+1)
	page := &api.Gateways{Gateways: make([]api.Gateway, 0, min(len(best), limit))}
	if len(best) > limit {
		best = best[:limit]
		page.Next = best[limit-1].cursor(s)
	}
	entries, whole, err := e.wholes(ctx, best, &damaged)
	if err != nil {
		return nil, err
	}
	if complete.Complete {
		complete = whole
	}
	for _, entry := range entries {
		page.Gateways = append(page.Gateways, e.gateway(entry, rejects))
	}
	page.Complete = damaged.apply(complete)
	if q.Day {
		if err := e.addDays(ctx, page, entries); err != nil {
			return nil, err
		}
	}
	return page, nil
}

// listed is a gateway of a list.
type listed struct {
	place
	outline *outline
}

// walk yields the outlines of gateways that a request is about, in order of their names, until yield returns false. In another order
// than that of names it yields all of them. What is damaged is named in damaged alone.
func (e *Engine) walk(
	ctx context.Context, q *GatewaysRequest, after string, s *order, limit int, damaged *damage, yield func(*outline) bool,
) (all api.Complete, err error) {
	all.Complete = true
	search, now, atOnce := strings.ToLower(q.Search), e.now(), MostGateways
	few := s.names && !s.down && search == "" && q.State == "" && q.All()
	if few {
		atOnce = min(limit, MostGateways-1) + 1
	}
	if !s.names || s.down {
		after = ""
	}
	show := func(some []outline) (more bool) {
		for i := range some {
			o := &some[i]
			wanted := o.Gateway > after && (search == "" || strings.Contains(strings.ToLower(o.Gateway), search)) &&
				(q.State == "" || q.State == stateOf(now, &o.Entry)) && e.has(q.Choice, o.Gateway)
			if wanted && !yield(o) {
				return false
			}
		}
		return true
	}
	if !few && limit <= MostGateways { // of more, all that is known is shown: it is read anyway
		some, complete, ok, err := e.lately(ctx)
		if err != nil || ok {
			show(some)
			return complete, err
		}
	}
	for {
		some, _, complete, err := e.outlines(ctx, headapi.GatewaysRequest{After: after, Limit: atOnce}, damaged)
		if err != nil {
			return all, err
		}
		if !complete.Complete {
			all = complete
		}
		if !show(some) || len(some) < atOnce {
			return all, nil
		}
		after = some[len(some)-1].Gateway
	}
}

// order is what gateways are sorted by; those that are alike in it by name.
type order struct {
	names bool // by nothing else
	down  bool
	key   func(*catalog.Entry) int64
}

// urgency is the order of states: what needs somebody comes first.
var urgency = map[api.State]int64{api.Offline: 0, api.Late: 1, api.Online: 2, api.Never: 3}

// orderOf returns the order of a name that was checked.
func (e *Engine) orderOf(sort string, rejects rejects) *order {
	by, down := strings.CutPrefix(sort, "-")
	s := &order{down: down}
	switch now := e.now(); by {
	case api.ByState:
		s.key = func(entry *catalog.Entry) int64 { return urgency[stateOf(now, entry)] }
	case api.ByLastSeen:
		s.key = func(entry *catalog.Entry) int64 { return entry.LastSeen }
	case api.ByRate:
		s.key = func(entry *catalog.Entry) int64 { return int64(entry.Arrived.LastHour(now.UnixNano())) }
	case api.ByRejects:
		s.key = func(entry *catalog.Entry) int64 {
			if rejects == nil {
				return 0
			}
			return int64(rejects(entry.Gateway))
		}
	default:
		s.names, s.key = true, func(*catalog.Entry) int64 { return 0 }
	}
	return s
}

// place is where a gateway stands in an order.
type place struct {
	key  int64
	name string
}

func (s *order) compare(a, b place) int {
	switch {
	case s.names && s.down:
		return cmp.Compare(b.name, a.name)
	case s.down:
		a.key, b.key = b.key, a.key
	}
	return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.name, b.name))
}

// first sorts gateways and returns the first of them, so many at most.
func (s *order) first(all []listed, most int) []listed {
	slices.SortFunc(all, func(a, b listed) int { return s.compare(a.place, b.place) })
	clear(all[min(len(all), most):])
	return all[:min(len(all), most)]
}

// cursor returns what the next page is asked for after: the name, or what it is sorted by and the name.
func (p place) cursor(s *order) string {
	if s.names {
		return p.name
	}
	return strconv.FormatInt(p.key, 10) + " " + p.name
}

// placeOf returns the place that a cursor names; an empty one is that of the first page.
func (s *order) placeOf(cursor string) (place, error) {
	if s.names || cursor == "" {
		return place{name: cursor}, nil
	}
	key, name, ok := strings.Cut(cursor, " ")
	n, err := strconv.ParseInt(key, 10, 64)
	if !ok || err != nil {
		return place{}, schema.Errorf(schema.Invalid, "the list goes on after %q in another order than it began", cursor).WithNext("begin with its first page")
	}
	return place{n, name}, nil
}

// rejects returns how many rejects of a sender are kept; nil: nobody can tell now.
type rejects = func(sender string) uint64

// rejectsLimit bounds how long a list waits to be told of rejects.
const rejectsLimit = 2 * time.Second

// rejects returns how many rejects are kept of each sender.
func (e *Engine) rejects(ctx context.Context) rejects {
	if e.kept == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, rejectsLimit)
	defer cancel()
	of, err := e.kept(ctx)
	if err != nil {
		e.log.Debug("rejects cannot be counted", "error", err)
		return nil
	}
	return of
}
