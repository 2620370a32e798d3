package disk

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
)

func TestReserveIsTheLessOfShareAndSize(t *testing.T) {
	const tib = 1 << 40
	for text, want := range map[string]uint64{"": 2 << 30, "5%,2GiB": 2 << 30, "50%": tib / 2, "1.5MiB": 3 << 19, "2GiB, 0.1%": tib / 1000} {
		r, err := ParseReserve(text)
		if got := r.Of(tib); err != nil || got != want {
			t.Errorf("%q of a TiB is %d, %v; want %d", text, got, err, want)
		}
	}
	if r, _ := ParseReserve(""); r.Of(1<<30) != 1<<30/20 {
		t.Errorf("of a GiB %d bytes are kept free, want a twentieth", r.Of(1<<30))
	}
	for _, text := range []string{"5", "x%", "-1%", "91%", "0GiB", "GiB", "5%,", "1e9TiB", "NaN%"} {
		if r, err := ParseReserve(text); err == nil {
			t.Errorf("%q is taken for %v", text, r)
		}
	}
}

func TestLowStaysLowUntilThereIsMoreRoom(t *testing.T) {
	reserve, err := ParseReserve("100MiB")
	if err != nil {
		t.Fatal(err)
	}
	w := New(reserve, slog.New(slog.DiscardHandler), Folder{"the logs", "logs"}, Folder{"the keyspaces", "keyspaces"}, Folder{"the logs again", "logs"}, Folder{"what is not there", "gone"})
	free := map[string]uint64{"logs": 1000, "keyspaces": 1000}
	w.space = func(dir string) (Space, error) {
		if dir == "gone" {
			return Space{}, errors.New("no such disk")
		}
		return Space{Free: free[dir] << 20, Size: 1 << 30, Disk: uint64(len(dir))}, nil
	}
	for i, c := range []struct {
		logs, keyspaces uint64
		low, room       bool
	}{
		{1000, 1000, false, true},
		{100, 100, false, true},
		{99, 1000, true, true},
		{124, 1000, true, true},
		{125, 1000, false, true},
		{110, 49, true, false},
		{110, 130, true, true},
		{125, 125, false, true},
	} {
		free["logs"], free["keyspaces"] = c.logs, c.keyspaces
		got := w.Look()
		if strings.Contains(got.Detail, "again") {
			t.Errorf("one disk is named twice: %s", got.Detail)
		}
		if got.Low != c.low || w.Room() != c.room || got.Low != (got.Detail != "") {
			t.Errorf("%d: with %d and %d MiB free: %+v, room %v", i, c.logs, c.keyspaces, got, w.Room())
		}
	}
}

func TestADiskIsFoundBeforeItsFolderIs(t *testing.T) {
	dir := t.TempDir()
	there, err := Of(dir)
	if err != nil {
		t.Fatal(err)
	}
	will, err := Of(dir + "/not/yet")
	if err != nil || will.Size != there.Size || will.Size == 0 {
		t.Errorf("%+v, %v, want %+v", will, err, there)
	}
}
