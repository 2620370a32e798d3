package cutfs

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"testing"
)

// model knows what a cut may leave, from the operations alone.
type model struct {
	names map[string][]uint64 // by path: the files that may bear the name, 0 for none; the first is the durable one
	files map[uint64]*history
}

// history is what may be left of one file.
type history struct {
	contents []string // the first is the durable one
	stays    bool     // it is durable under some name, and was not removed since
}

// TestAnythingSyncedIsThere does random operations, cuts, and compares what is left with the model: what was synced is
// there, what was not is anything that it was meanwhile, and a file that was only renamed has exactly one name.
func TestAnythingSyncedIsThere(t *testing.T) {
	seeds := 12
	if testing.Short() {
		seeds = 4
	}
	for seed := range uint64(seeds) {
		random := rand.New(rand.NewPCG(seed, 0))
		d := newDisk(t)
		d.must(os.Mkdir(d.path("a"), 0o700))
		d.must(os.Mkdir(d.path("b"), 0o700))
		d.sync(".")
		m := &model{names: map[string][]uint64{}, files: map[uint64]*history{}}
		for _, p := range paths() {
			m.names[p] = []uint64{0}
		}
		for round := range 25 {
			for range random.IntN(40) {
				m.step(d, random)
			}
			d.cut(random)
			if t.Failed() {
				return
			}
			m.compare(d, fmt.Sprintf("seed %d, cut %d", seed, round))
		}
	}
}

func paths() []string { return []string{"a/1", "a/2", "a/3", "b/1", "b/2", "b/3"} }

// now is the file that bears the name.
func (m *model) now(path string) uint64 {
	all := m.names[path]
	return all[len(all)-1]
}

func (m *model) set(path string, file uint64) { m.names[path] = append(m.names[path], file) }

// step does one random operation.
func (m *model) step(d *disk, random *rand.Rand) {
	d.t.Helper()
	path := paths()[random.IntN(6)]
	file := m.now(path)
	if file == 0 {
		d.write(path, 0, nil, 0)
		file = d.number(path)
		m.files[file] = &history{contents: []string{""}}
		m.set(path, file)
		return
	}
	h := m.files[file]
	last := h.contents[len(h.contents)-1]
	switch random.IntN(8) {
	case 0, 1, 2:
		off, data := random.IntN(len(last)+2000), make([]byte, 1+random.IntN(9000))
		for i := range data {
			data[i] = byte(1 + random.IntN(255))
		}
		flags := 0
		if random.IntN(4) == 0 {
			flags = syscall.O_DSYNC
		}
		d.write(path, int64(off), data, flags)
		content := []byte(last)
		content = append(content, make([]byte, max(0, off+len(data)-len(last)))...)
		copy(content[off:], data)
		h.contents = append(h.contents, string(content))
		if flags != 0 {
			m.synced(path, file)
		}
	case 3:
		size := random.IntN(len(last) + 1)
		d.must(os.Truncate(d.path(path), int64(size)))
		h.contents = append(h.contents, last[:size])
	case 4:
		d.sync(path)
		m.synced(path, file)
	case 5:
		folder := []string{"a", "b"}[random.IntN(2)]
		d.sync(folder)
		for p := range m.names {
			if p[:1] == folder {
				m.durable(p)
			}
		}
	case 6:
		to := paths()[random.IntN(6)]
		if to == path {
			return
		}
		d.must(os.Rename(d.path(path), d.path(to)))
		if old := m.now(to); old != 0 {
			m.files[old].stays = false
		}
		m.set(path, 0)
		m.set(to, file)
	case 7:
		d.must(os.Remove(d.path(path)))
		h.stays = false
		m.set(path, 0)
	}
}

// synced notes a file's own sync: content and creation are durable.
func (m *model) synced(path string, file uint64) {
	h := m.files[file]
	h.contents = h.contents[len(h.contents)-1:]
	h.stays = true
	for _, p := range paths() {
		// Where it was made is where it was never durable: what came before it there has gone.
		if at := slices.Index(m.names[p], file); p == path && at > 0 && !slices.Contains(m.names[p][:at], file) && m.onlyAt(path, file) {
			m.names[p] = m.names[p][at:]
		}
	}
}

// onlyAt reports whether a file has never had another name.
func (m *model) onlyAt(path string, file uint64) bool {
	for p, all := range m.names {
		if p != path && slices.Contains(all, file) {
			return false
		}
	}
	return true
}

// durable notes that what bears the name now bears it durably.
func (m *model) durable(path string) {
	file := m.now(path)
	m.names[path] = []uint64{file}
	if file != 0 {
		m.files[file].stays = true
	}
}

// compare compares what is left, and goes on from there.
func (m *model) compare(d *disk, when string) {
	d.t.Helper()
	found := map[uint64]int{}
	for _, p := range paths() {
		file := d.number(p)
		if !slices.Contains(m.names[p], file) {
			d.t.Errorf("%s: %s is file %d, which is none of %v", when, p, file, m.names[p])
			continue
		}
		m.names[p] = []uint64{file}
		if file == 0 {
			continue
		}
		if found[file]++; found[file] > 1 {
			d.t.Errorf("%s: file %d has two names", when, file)
		}
		content := string(d.read(p))
		if why := m.files[file].disallows(content); why != "" {
			d.t.Errorf("%s: %s: %s", when, p, why)
		}
	}
	for file, h := range m.files {
		if h.stays && found[file] == 0 {
			d.t.Errorf("%s: file %d is lost", when, file)
		}
		if found[file] == 0 {
			delete(m.files, file)
		}
	}
	for _, p := range paths() {
		if file := m.now(p); file != 0 {
			m.files[file] = &history{contents: []string{string(d.read(p))}, stays: true}
		}
	}
}

// disallows says why a content cannot be left: each byte was there at some time since the last sync, or the file has
// grown without it; its size was the file's at some time.
func (h *history) disallows(content string) string {
	if !h.hadSize(len(content)) {
		return fmt.Sprintf("its size %d is none that it had", len(content))
	}
	for i := range len(content) {
		zero := content[i] == 0 && (i >= len(h.contents[0]) || len(h.contents) > 1 && shortened(h.contents, i))
		if !zero && !slices.ContainsFunc(h.contents, func(c string) bool { return i < len(c) && c[i] == content[i] }) {
			return fmt.Sprintf("its byte %d is %#x, which it never was", i, content[i])
		}
	}
	return ""
}

// hadSize reports whether the file had the size at some time; the kernel writes what is long in pieces of pages.
func (h *history) hadSize(size int) bool {
	for i, c := range h.contents {
		if len(c) == size || i > 0 && size%4096 == 0 && len(h.contents[i-1]) < size && size < len(c) {
			return true
		}
	}
	return false
}

// shortened reports whether a file was once shorter than i bytes.
func shortened(contents []string, i int) bool {
	return slices.ContainsFunc(contents, func(c string) bool { return len(c) <= i })
}

// number returns the number of the file that bears the name, 0 for none.
func (d *disk) number(path string) uint64 {
	d.t.Helper()
	var s syscall.Stat_t
	err := syscall.Lstat(d.path(path), &s)
	if err == syscall.ENOENT {
		return 0
	}
	d.must(err)
	return s.Ino
}
