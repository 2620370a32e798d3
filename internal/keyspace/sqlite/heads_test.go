package sqlite_test

import (
	"database/sql"
	"errors"
	"path/filepath"
	"strconv"
	"testing"

	"berth/internal/keyspace"
	"berth/schema"
	"berth/schema/rollup"
)

// rollupOf is an hour's rollup of a gateway of so many sensors.
func rollupOf(sensors, hour int) keyspace.Rollup {
	var stats []rollup.Stat
	for i := range sensors {
		stats = append(stats, rollup.Stat{
			Sensor: "readings.sensor_with_a_long_name_" + strconv.Itoa(i), Count: 360, Numbers: 360, Sum: float64(hour), Max: float64(i + 10),
			First: schema.FloatValue(float64(i)), Last: schema.FloatValue(1), FirstTime: int64(hour) * schema.HourSpan, LastTime: int64(hour+1)*schema.HourSpan - 1e9,
		})
	}
	return keyspace.Rollup{
		RollupKey: keyspace.RollupKey{Gateway: "g", Span: keyspace.Hour, Start: int64(hour) * schema.HourSpan},
		Computed:  schema.Position{Sequence: 1000}, Data: rollup.Encode(nil, stats),
	}
}

// checkRollups holds all rollups of the gateway against what was written.
func checkRollups(t *testing.T, r keyspace.Reader, want []keyspace.Rollup) {
	t.Helper()
	i := 0
	err := r.Rollups(t.Context(), "g", keyspace.Hour, 0, 1<<62, func(got keyspace.Rollup) error {
		if i < len(want) && (got.RollupKey != want[i].RollupKey || string(got.Data) != string(want[i].Data)) {
			t.Errorf("rollup %d is %v %x, want %v %x", i, got.RollupKey, got.Data, want[i].RollupKey, want[i].Data)
		}
		i++
		return nil
	})
	if err != nil || i != len(want) {
		t.Errorf("%d rollups are read of %d: %v", i, len(want), err)
	}
}

// TestHeadsOfRollups writes rollups of two shapes, and data that only looks like one: all are read back as they were, by who
// had the catalog open before it had heads and by who opens it later, and a name is stored twice at most.
func TestHeadsOfRollups(t *testing.T) {
	dir := t.TempDir()
	for _, file := range []string{"catalog.db", "2026-03.db"} {
		put(t, filepath.Join(dir, "filled", file), string(unzip(t, filepath.Join("testdata", "v1", file+".gz"))))
	}
	b := open(t, dir)
	before, err := b.Reader(t.Context(), "filled")
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	checkRollups(t, before, nil)
	var all []keyspace.Rollup
	for hour := range 40 {
		r := rollupOf(3+hour%2, hour)
		if hour == 20 {
			r.Data = []byte("BRH\x01")
		}
		all = append(all, r)
		writeTo(t, b, &keyspace.Changes{Rollups: []keyspace.Rollup{r}}) // a writer of its own for each
	}
	checkRollups(t, before, all)
	w, err := b.Writer(t.Context(), "filled")
	if err != nil {
		t.Fatal(err)
	}
	for hour := range 40 {
		r := rollupOf(3+hour%2, 40+hour)
		all = append(all, r)
		if _, err := w.Write(t.Context(), &keyspace.Changes{Rollups: []keyspace.Rollup{r}}); err != nil {
			t.Fatal(err)
		}
	}
	checkRollups(t, before, all)
	checkRollups(t, w, all)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "filled", "catalog.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var heads, named int
	if err := db.QueryRowContext(t.Context(), "SELECT (SELECT count(*) FROM heads), count(*) FROM rollups WHERE instr(data, 'sensor_with') > 0").Scan(&heads, &named); err != nil {
		t.Fatal(err)
	}
	if heads != 2 || named != 41 { // each of the 40 writers saw its first, but one, and the last writer two
		t.Errorf("%d beginnings are kept, and %d rollups have their own", heads, named)
	}
	if _, err := db.ExecContext(t.Context(), "DELETE FROM heads"); err != nil {
		t.Fatal(err)
	}
	after, err := b.Reader(t.Context(), "filled")
	if err != nil {
		t.Fatal(err)
	}
	defer after.Close()
	err = after.Rollups(t.Context(), "g", keyspace.Hour, 0, 1<<62, func(keyspace.Rollup) error { return nil })
	if !errors.Is(err, keyspace.ErrDamaged) {
		t.Errorf("rollups without their beginnings are read: %v", err)
	}
}
