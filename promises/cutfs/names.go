package cutfs

import (
	"slices"
	"syscall"
)

// place is a name in a directory; the zero place is none.
type place struct {
	dir  *node
	name string
}

// change is a change of names: a creation has no from, a removal no to, a rename has both.
type change struct {
	node     *node
	from, to place
	replaced *node // what bore the name to before
}

// view is one view of the directories: what programs see, or what the disk holds.
type view func(*node) map[string]*node

func seen(n *node) map[string]*node { return n.seen }
func kept(n *node) map[string]*node { return n.kept }

// apply makes the change in one view.
func (c *change) apply(entries view) {
	if c.from.dir != nil {
		set(entries, c.from, nil)
	}
	if c.to.dir != nil {
		set(entries, c.to, c.node)
	}
}

// set lets a name stand for a node; for none when that is nil.
func set(entries view, p place, n *node) {
	if old := entries(p.dir)[p.name]; old != nil {
		old.refs--
		delete(entries(p.dir), p.name)
	}
	if n != nil {
		n.refs++
		entries(p.dir)[p.name] = n
	}
}

// gone is the node whose name the change takes away for good, if any.
func (c *change) gone() *node {
	if c.to.dir == nil {
		return c.node
	}
	return c.replaced
}

// movesDirectory reports whether the change gives a directory another place.
func (c *change) movesDirectory() bool {
	return c.node.isDir() && c.from.dir != nil && c.to.dir != nil
}

// do makes a change that programs see, and that waits for a sync. The caller holds mu.
func (d *Disk) do(c *change) {
	if c.to.dir != nil {
		c.replaced = c.to.dir.seen[c.to.name]
	}
	c.hold(+1)
	c.apply(seen)
	d.journal = append(d.journal, c)
	if len(d.journal) > journalLimit && !d.lies.Load() {
		oldest := d.journal[0]
		d.commit(func(c *change) bool { return c == oldest })
	}
}

// hold counts the change among what knows its nodes.
func (c *change) hold(by int) {
	c.node.refs += by
	if c.replaced != nil {
		c.replaced.refs += by
	}
}

// commit writes the wanted changes to the disk, and those that must go before them. The caller holds mu.
func (d *Disk) commit(want func(*change) bool) {
	var rest []*change
	for i, needed := range d.needed(want) {
		c := d.journal[i]
		if !needed {
			rest = append(rest, c)
			continue
		}
		c.apply(kept)
		c.hold(-1)
		d.free(c.gone())
	}
	d.journal = rest
}

// needed tells for each change of the journal whether it is wanted, or must go before one that is.
func (d *Disk) needed(want func(*change) bool) []bool {
	needed := make([]bool, len(d.journal))
	places := map[place]bool{} // that needed changes touch
	gone := map[*node]bool{}   // directories that needed changes remove
	moves := false             // a needed change moves a directory
	for i, c := range slices.Backward(d.journal) {
		needed[i] = want(c) || places[c.from] || places[c.to] || gone[c.from.dir] || gone[c.to.dir] ||
			moves && c.movesDirectory()
		if !needed[i] {
			continue
		}
		for _, p := range []place{c.from, c.to} {
			if p.dir != nil {
				places[p] = true
			}
		}
		if g := c.gone(); g != nil && g.isDir() {
			gone[g] = true
		}
		moves = moves || c.movesDirectory()
	}
	return needed
}

// syncNames does what a sync of a node means for names. The caller holds mu.
func (d *Disk) syncNames(n *node) {
	if d.lies.Load() {
		return
	}
	want := func(c *change) bool { return c.node == n && c.from.dir == nil && n.isFile() }
	if n.isDir() {
		want = func(c *change) bool { return c.from.dir == n || c.to.dir == n }
	}
	if slices.ContainsFunc(d.journal, want) {
		d.commit(want)
	}
}

// free frees a node that is open nowhere and that no name and no change knows any more. The caller holds mu.
func (d *Disk) free(n *node) {
	if n != nil && n.refs == 0 && n.opens == 0 && n != d.root {
		delete(d.nodes, n.ino)
		_ = n.remove() // it only takes room
	}
}

// move renames, or says why not. The caller holds mu.
func (d *Disk) move(from, to place, flags uint32) syscall.Errno {
	const noReplace = 1
	n, old := from.dir.seen[from.name], to.dir.seen[to.name]
	switch {
	case n == nil:
		return syscall.ENOENT
	case flags&^noReplace != 0:
		return syscall.EINVAL
	case old != nil && flags == noReplace:
		return syscall.EEXIST
	case old == n:
		return 0
	case old != nil && old.isDir() && !n.isDir():
		return syscall.EISDIR
	case old != nil && !old.isDir() && n.isDir():
		return syscall.ENOTDIR
	case old != nil && len(old.seen) > 0:
		return syscall.ENOTEMPTY
	}
	d.do(&change{node: n, from: from, to: to})
	return 0
}
