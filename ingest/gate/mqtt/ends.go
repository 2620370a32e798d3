package mqtt

import (
	"sync"

	"berth/ingest/commit"
	"berth/ingest/gate/intake"
	"berth/schema/batch"
)

const (
	// maxEnds is how many bytes of farewells may wait for room in the committer's queue: those of about 20,000 clients.
	maxEnds = 16 << 20
	// endMemory is about how many bytes a row of a farewell takes beside its values: names that it shares with few.
	endMemory = 256
)

// ends are the farewells of connections on their way to the committer. Their connections are closed, and hold nobody back any
// more, so while the log takes nothing there may be ever more of them: what is beyond the bound is given up, and counted.
// One of those who bring some hands over for all, and so they need no goroutines.
type ends struct {
	in   *intake.Intake
	most int64 // bytes that may wait

	mu      sync.Mutex // guards what follows
	rows    *batch.Rows
	counts  commit.Counts
	memory  int64 // that rows take, and those that are being handed over
	handing bool  // somebody hands over
	over    bool  // some were given up since somebody last handed over
}

// put hands a farewell over, or leaves it to who is at that.
func (e *ends) put(f *farewell) {
	if f.rows == nil {
		return
	}
	hand := f.counts.Frames > 0 && e.add(f)
	commit.GiveRows(f.rows)
	if hand {
		e.handOver()
	}
}

// add adds a farewell to those that wait, and reports whether to hand them over.
func (e *ends) add(f *farewell) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	memory := memoryOf(f.rows)
	if e.memory+memory > e.most {
		if !e.over {
			e.over = true
			e.in.Log.Warn("ends of connections are given up: the log takes nothing, and too many wait", "bytes", e.memory)
		}
		e.in.Committer.Count(commit.Counts{FramesGivenUp: f.counts.Frames, Reasons: map[string]int{intake.ReasonEnds: int(f.counts.Frames)}})
		return false
	}
	if e.rows == nil {
		e.rows = commit.TakeRows()
	}
	e.rows.Append(f.rows)
	e.counts.Add(&f.counts)
	e.memory += memory
	hand := !e.handing
	e.handing = true
	return hand
}

// memoryOf returns about how many bytes the rows of farewells take.
func memoryOf(rows *batch.Rows) int64 {
	sub := commit.Submission{Rows: rows}
	return sub.Memory() + int64(endMemory*rows.Len())
}

// take takes all that wait; nil: none do, and who hands over is done.
func (e *ends) take() *commit.Submission {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.rows == nil {
		e.handing, e.over = false, false
		return nil
	}
	sub := &commit.Submission{Rows: e.rows, Counts: e.counts, Waiter: commit.Nobody{}}
	e.rows, e.counts = nil, commit.Counts{}
	return sub
}

// taken notes that what waited before is handed over.
func (e *ends) taken() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.memory = 0; e.rows != nil {
		e.memory = memoryOf(e.rows)
	}
}

// handOver hands over until none wait. When the service is stopped, what the committer has no room for is given up.
func (e *ends) handOver() {
	for sub := e.take(); sub != nil; sub = e.take() {
		if err := e.in.Committer.Submit(e.in.Context(), sub); err != nil {
			e.in.Log.Warn("ends of connections were not stored", "frames", sub.Counts.Frames, "error", err)
			commit.GiveRows(sub.Rows)
		}
		e.taken()
	}
}
