package limit

import "time"

// Burst is how long a sender that was silent may go beyond its rate: so many seconds' worth may come at once.
const Burst = 5 * time.Second

// bucket counts what was spent and what has been paid for it: the rate pays, up to Burst ahead of what was spent. Who
// spends is never refused; he waits until it is paid for up to where he spent last. So everybody waits in turn, and a
// change of the rate changes every wait. What is spent and paid only rises, so that a mark outlives every change.
type bucket struct {
	spent float64
	paid  float64
	at    int64 // ns: paid is of then; 0: nothing is owed, and Burst is paid ahead

	since  int64 // ns: the figure below counts from then
	came   float64
	second float64 // what came in the last whole second that was looked at
}

// advance pays what is due until now.
func (b *bucket) advance(now, rate int64) {
	if rate == 0 {
		b.paid, b.at = b.spent, 0
		return
	}
	ahead := b.spent + float64(rate)*Burst.Seconds()
	if b.at == 0 {
		b.paid = ahead
	} else {
		b.paid = min(b.paid+float64(rate)*time.Duration(now-b.at).Seconds(), ahead)
	}
	b.at = now
}

// spend spends n.
func (b *bucket) spend(now, rate int64, n float64) {
	b.advance(now, rate)
	b.spent += n
	if now-b.since >= int64(time.Second) {
		b.second = b.came / time.Duration(now-b.since).Seconds()
		b.since, b.came = now, 0
	}
	b.came += n
}

// due returns how long it takes until all up to the mark is paid for.
func (b *bucket) due(now, rate int64, mark float64) time.Duration {
	b.advance(now, rate)
	if rate == 0 || mark <= b.paid {
		return 0
	}
	return time.Duration((mark - b.paid) / float64(rate) * float64(time.Second))
}

// full reports whether the bucket is as one that was never used.
func (b *bucket) full(now, rate int64) bool {
	b.advance(now, rate)
	return rate == 0 || b.paid >= b.spent+float64(rate)*Burst.Seconds()
}

// perSecond returns what came in a second lately.
func (b *bucket) perSecond(now int64) int64 {
	if age := time.Duration(now - b.since); age >= 2*time.Second { // the last whole second is long over
		return int64(b.came / age.Seconds())
	}
	return int64(b.second)
}
