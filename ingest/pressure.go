package ingest

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"berth/internal/houseapi"
)

// A log that holds pressOn percent of its quota takes no more until it is back at pressOff: gateways are slowed before
// anything has to be refused, and what is left is for claims and for what is on its way.
const (
	pressOn    = 90
	pressOff   = 80
	pressEvery = time.Second
	// stalledMost is how long a log that confirms nothing goes unnoticed by senders who can be told to come back.
	stalledMost = 5 * time.Second
	// diskIdle is how often an idle instance asks for the disks, and diskMost how long an answer holds.
	diskIdle = 10 * time.Second
	diskMost = 15 * time.Second
)

// pressed says why gateways are slowed.
type pressed struct {
	log  bool   // it is nearly full
	disk string // what is nearly full; empty: nothing
}

// pressure is what is pressed now.
type pressure struct {
	mu  sync.Mutex // guards now
	now pressed
}

func (p *pressure) get() pressed {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

func (p *pressure) set(now pressed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = now
}

// watchPressure slows gateways down while the log is nearly full, a disk is, or the log confirms nothing.
func (i *Ingest) watchPressure(ctx context.Context) {
	i.background(ctx, "pressure", otherStop, func(ctx context.Context) {
		tick := time.NewTicker(pressEvery)
		defer tick.Stop()
		var w pressureWatch
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			i.lookForPressure(ctx, &w)
		}
	})
}

// pressureWatch is what was seen at the looks before.
type pressureWatch struct {
	now     pressed
	held    bool
	seen    uint64    // the sequence at which the log was looked at
	disk    time.Time // when there was an answer about the disks
	stalled time.Time // since when the log confirms nothing
}

// lookForPressure looks once. An idle instance asks little.
func (i *Ingest) lookForPressure(ctx context.Context, w *pressureWatch) {
	now := time.Now()
	switch {
	case i.writer.Trouble() == nil:
		w.stalled = time.Time{}
	case w.stalled.IsZero():
		w.stalled = now
	}
	sequence, full := i.committer.Sequence(), i.committer.Full()
	busy := sequence != w.seen || w.held || full || !w.stalled.IsZero()
	if busy || now.Sub(w.disk) >= diskIdle {
		if detail, ok := i.diskPressed(ctx); ok {
			w.now.disk, w.disk = detail, now
		} else if now.Sub(w.disk) >= diskMost {
			w.now.disk = ""
		}
	}
	if busy {
		if log, ok := i.logPressed(ctx, w.now.log); ok {
			w.seen, w.now.log = sequence, log
		}
	}
	i.pressure.set(w.now)
	hold := w.now.log || w.now.disk != "" || !w.stalled.IsZero() && now.Sub(w.stalled) > stalledMost
	if hold != w.held {
		w.held = hold
		i.committer.Hold(hold)
	}
	if hold || full { // a log that was full at the start confirms nothing, so nothing of it changes
		i.sealer.Hurry()
	}
}

// diskPressed asks the provisioner which disk is nearly full. Where nobody answers, ok is false.
func (i *Ingest) diskPressed(ctx context.Context) (detail string, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, pressEvery)
	defer cancel()
	var answer houseapi.Disk
	err := i.conn.Ask(ctx, houseapi.DiskSubject, []byte("{}"), func(data []byte) error { return json.Unmarshal(data, &answer) })
	if err != nil || !answer.Low {
		return "", err == nil
	}
	return answer.Detail, true
}

// logPressed reports whether the log is nearly full, of one that was or was not before. When the log does not say, ok is
// false.
func (i *Ingest) logPressed(ctx context.Context, before bool) (pressed, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, 2*pressEvery)
	defer cancel()
	state, err := i.journal.State(ctx)
	if err != nil || state.Quota == 0 {
		return before, false
	}
	switch used := state.Bytes * 100 / state.Quota; {
	case !before && used >= pressOn:
		i.log.Warn("the log is nearly full: gateways wait until it is trimmed", "bytes", state.Bytes, "quota", state.Quota)
		return true, true
	case before && used < pressOff:
		i.log.Info("the log has room again", "bytes", state.Bytes, "quota", state.Quota)
		return false, true
	}
	return before, true
}
