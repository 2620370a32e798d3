package cutfs

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
)

// fate is how much of what was not synced a cut leaves.
type fate int

const (
	nothing fate = iota
	everything
	someFirst // the older ones, up to some moment
	some      // any of them
	fates
)

// Restore switches the power on again after a cut, and decides what is left by the random numbers. The disk is not
// mounted; then it may be.
func (d *Disk) Restore(random *rand.Rand) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := fate(random.IntN(2 * int(fates))) // of everything at once, or else of each by itself
	draw := func() fate {
		if d.lies.Load() {
			return nothing
		}
		if all < fates {
			return all
		}
		return fate(random.IntN(int(fates)))
	}
	d.surviveNames(draw(), random)
	for ino := uint64(1); ino <= d.last; ino++ { // in order, so that a seed says what happens
		n := d.nodes[ino]
		if n == nil {
			continue
		}
		n.opens = 0
		d.free(n)
		if d.nodes[ino] == nil || !n.isFile() || n.synced == nil {
			continue
		}
		if err := n.survive(draw(), random); err != nil {
			return fmt.Errorf("restore content %d: %w", ino, err)
		}
	}
	d.moment.Store(nil)
	d.power.Lock()
	defer d.power.Unlock()
	d.off = false
	return nil
}

// surviveNames decides which changes of names are left, and forgets what no name leads to. The caller holds mu.
func (d *Disk) surviveNames(f fate, random *rand.Rand) {
	moment, odds := random.IntN(len(d.journal)+1), random.Float64()
	at := map[*change]int{}
	for i, c := range d.journal {
		at[c] = i
	}
	d.commit(func(c *change) bool {
		return f == everything || f == someFirst && at[c] < moment || f == some && random.Float64() < odds
	})
	for _, c := range d.journal {
		c.hold(-1)
	}
	d.journal = nil
	reached := map[*node]bool{}
	for list := []*node{d.root}; len(list) > 0; list = list[1:] {
		reached[list[0]] = true
		for _, n := range list[0].kept {
			if !reached[n] {
				list = append(list, n)
			}
		}
	}
	for _, n := range d.nodes {
		n.refs = 0
		if !reached[n] {
			n.kept = nil
		}
	}
	for n := range reached {
		if n.isDir() {
			n.seen = make(map[string]*node, len(n.kept))
		}
		for name, other := range n.kept {
			n.seen[name] = other
			other.refs += 2
		}
	}
}

// survive decides which changes of a file's content are left. The caller holds Disk.mu.
func (n *node) survive(f fate, random *rand.Rand) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.waiting) == 0 {
		return nil
	}
	moment := map[fate]int{nothing: 0, everything: len(n.waiting)}
	first, known := moment[f]
	if !known {
		first = random.IntN(len(n.waiting) + 1)
	}
	size, err := n.surviveWrites(f, first, random)
	if err != nil {
		return err
	}
	n.waiting, n.bytes, n.size = nil, 0, size
	return copyContent(n.now, n.synced)
}

// surviveWrites writes what is left to the disk and returns the file's size, which is that after the first changes.
// Later writes may have reached sectors that the file had then, unless it was made shorter between.
func (n *node) surviveWrites(f fate, first int, random *rand.Rand) (size int64, err error) {
	info, err := n.synced.Stat()
	if err != nil {
		return 0, err
	}
	size = info.Size()
	sector := int64(512)
	if random.IntN(2) == 0 {
		sector = 4096
	}
	odds := random.Float64()
	keep := func() bool { return f == everything || f != nothing && random.Float64() < odds }
	if f == someFirst {
		keep = func() bool { return true }
	}
	for i, w := range n.waiting {
		if w.data == nil {
			if i >= first {
				break
			}
			size = w.off
			if err := n.synced.Truncate(size); err != nil {
				return 0, err
			}
			continue
		}
		end := w.off + int64(len(w.data))
		if i < first {
			size = max(size, end)
		} else if f == someFirst {
			break
		}
		for at := w.off; at < min(end, size); {
			next := min((at/sector+1)*sector, end, size)
			if keep() {
				if _, err := n.synced.WriteAt(w.data[at-w.off:next-w.off], at); err != nil {
					return 0, err
				}
			}
			at = next
		}
	}
	return size, n.synced.Truncate(size)
}

// copyContent makes one file what another is.
func copyContent(to, from *os.File) error {
	info, err := from.Stat()
	if err != nil {
		return err
	}
	if err := to.Truncate(0); err != nil {
		return err
	}
	_, err = io.Copy(io.NewOffsetWriter(to, 0), io.NewSectionReader(from, 0, info.Size()))
	return err
}
