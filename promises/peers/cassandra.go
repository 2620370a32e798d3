package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"text/tabwriter"
	"time"

	"berth/internal/keyspace/cassandra/cassandratest"
	"berth/internal/keyspace/cassandra/rows"
	"berth/internal/trucks"
)

// How one row per reading is measured: of some trucks only, since it takes so long, with so many requests at a time.
const (
	rowTrucks  = 2
	rowWorkers = 128
)

// stored is what one of both came to.
type stored struct {
	readings        int64
	acked           time.Duration
	keyspace, table string // the table is that of readings
	means           string // an acknowledgement
	disk            int64  // bytes of the keyspace
	parts           []component
}

// onCassandra measures Berth beside one row per reading, on one node and in one run.
func onCassandra(ctx context.Context, o *options) error {
	dir, err := os.MkdirTemp(o.dir, "berth-peers")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	if o.keep {
		fmt.Printf("all is in %s\n", dir)
	} else {
		defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	}
	place, err := folder(dir, "cassandra")
	if err != nil {
		return err
	}
	node := cassandratest.New(place, "HEAP=1g", "NICE=0")
	if err := node.Start(ctx); err != nil {
		return err
	}
	defer func() { node.Kill() }()
	fmt.Printf("one Cassandra node, heap 1 GB; %d processors, load average %s\n", runtime.NumCPU(), loadAverage())
	one, err := rowPerReading(ctx, o, node.Address)
	if err != nil {
		return fmt.Errorf("store one row per reading: %w", err)
	}
	blocks, err := berthOnCassandra(ctx, o, dir, node.Address)
	if err != nil {
		return fmt.Errorf("measure Berth: %w", err)
	}
	node.Stop() // what was in the commit log alone is written into tables when it starts again
	if err := node.Start(ctx); err != nil {
		return err
	}
	for _, s := range []*stored{one, blocks} {
		if s.disk, err = steady(ctx, filepath.Join(place, "data", "data", s.keyspace), 10*time.Second, 2*time.Minute); err != nil {
			return err
		}
	}
	data := filepath.Join(place, "data", "data")
	for _, s := range []*stored{one, blocks} {
		if s.parts, err = componentsOf(filepath.Join(data, s.keyspace)); err != nil {
			return err
		}
	}
	if err := compare(one, blocks); err != nil {
		return err
	}
	return anatomy(one, blocks)
}

// alone returns the bytes of the table of readings.
func (s *stored) alone() (bytes int64) {
	for _, c := range s.parts {
		if c.table == s.table {
			bytes += c.bytes
		}
	}
	return bytes
}

// compare prints both, and the ratios. Berth has besides its readings rollups of each hour and day and a list of gateways, which
// rows have not.
func compare(one, blocks *stored) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
	row := func(what, format string, a, b, ratio float64) {
		fmt.Fprintf(w, "%s\t"+format+"\t"+format+"\t%.2f\n", what, a, b, ratio)
	}
	fmt.Fprintf(w, "\n\tone row per reading\tBerth\tratio\n")
	fmt.Fprintf(w, "acknowledged means\t%s\t%s\t\n", one.means, blocks.means)
	row("readings there", "%.0f", float64(one.readings), float64(blocks.readings), float64(blocks.readings)/float64(one.readings))
	rate := func(s *stored) float64 { return float64(s.readings) / s.acked.Seconds() / 1e3 }
	a, b := rate(one), rate(blocks)
	row("K readings/s acknowledged", "%.1f", a, b, b/a)
	disk := func(what string, of func(*stored) int64) (times float64) {
		a, b := float64(of(one))/float64(one.readings), float64(of(blocks))/float64(blocks.readings)
		row("bytes on the node's disk a reading, "+what, "%.3f", a, b, b/a)
		return a / b
	}
	all := disk("all", func(s *stored) int64 { return s.disk })
	readings := disk("of the table of readings", (*stored).alone)
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Printf("Berth takes 1/%.1f of the disk for readings, and 1/%.1f with rollups of hours and days, which rows have not; load average %s\n",
		readings, all, loadAverage())
	return nil
}

// berthOnCassandra sends Berth the whole load.
func berthOnCassandra(ctx context.Context, o *options, dir, address string) (*stored, error) {
	l, err := generate(o)
	if err != nil {
		return nil, err
	}
	onNode := *o
	onNode.keyspaces = "cassandra://" + address
	r, err := openBerth(ctx, &onNode, dir)
	if err != nil {
		return nil, err
	}
	defer r.stop()
	sent, err := l.send(ctx, r, o.workers)
	if err != nil {
		return nil, err
	}
	s := &stored{acked: sent.took, keyspace: "berth_provider1", table: "blocks", means: "synced to disk"}
	if err := r.settle(ctx); err != nil {
		return nil, err
	}
	if s.readings, err = r.count(ctx); err == nil && s.readings != int64(l.readings) {
		err = fmt.Errorf("%d readings are there, %d were acknowledged", s.readings, l.readings)
	}
	return s, err
}

// reading is a reading of a line.
type reading struct {
	gateway, sensor string
	at              time.Time
	value           float64
}

// rowPerReading inserts the readings of a few trucks, and counts a day of each sensor.
func rowPerReading(ctx context.Context, o *options, address string) (*stored, error) {
	fleet := trucks.New(trucks.Options{Trucks: rowTrucks, Days: o.days, Start: o.start, Readings: o.readings * rowTrucks / o.trucks})
	var all []reading
	err := fleet.Drive(func(lines []byte, _ int) (err error) {
		all, err = appendReadings(all, lines)
		return err
	})
	if err != nil {
		return nil, err
	}
	table, err := rows.Create(ctx, address)
	if err != nil {
		return nil, err
	}
	defer table.Close()
	s := &stored{readings: int64(len(all)), keyspace: rows.Keyspace, table: "readings", means: "in memory, synced within 10 s"}
	begun := time.Now()
	if err := insertAll(ctx, table, all); err != nil {
		return nil, err
	}
	s.acked = time.Since(begun)
	return s, countDay(ctx, table, all)
}

// insertAll inserts readings in their order, many at a time.
func insertAll(ctx context.Context, table *rows.Table, all []reading) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan *reading, rowWorkers)
	var working sync.WaitGroup
	for range rowWorkers {
		working.Go(func() {
			for r := range next {
				if err := table.Insert(ctx, r.gateway, r.sensor, r.at, r.value); err != nil {
					cancel(fmt.Errorf("insert: %w", err)) // the rest fails alike, and at once
				}
			}
		})
	}
	for i := range all {
		next <- &all[i]
	}
	close(next)
	working.Wait()
	return context.Cause(ctx)
}

// countDay holds the rows of the first sensor's first day against what was inserted.
func countDay(ctx context.Context, table *rows.Table, all []reading) error {
	first, want := &all[0], int64(0)
	for i := range all {
		if r := &all[i]; r.gateway == first.gateway && r.sensor == first.sensor && r.at.YearDay() == first.at.YearDay() {
			want++
		}
	}
	n, err := table.Count(ctx, first.gateway, first.sensor, first.at)
	if err == nil && n != want {
		err = fmt.Errorf("%d rows of %s of %s are there, %d were inserted", n, first.sensor, first.gateway, want)
	}
	return err
}

// appendReadings appends the readings of lines as trucks writes them.
func appendReadings(all []reading, lines []byte) ([]reading, error) {
	for line := range bytes.Lines(lines) {
		head, rest, _ := bytes.Cut(bytes.TrimSpace(line), []byte(" "))
		fields, stamp, _ := bytes.Cut(rest, []byte(" "))
		measurement, tags, _ := bytes.Cut(head, []byte(","+trucks.GatewayTag+"="))
		gateway, _, _ := bytes.Cut(tags, []byte(","))
		at, err := strconv.ParseInt(string(stamp), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read %q: %w", line, err)
		}
		for field := range bytes.SplitSeq(fields, []byte(",")) {
			name, text, _ := bytes.Cut(field, []byte("="))
			value, err := strconv.ParseFloat(string(bytes.TrimSuffix(text, []byte("i"))), 64)
			if err != nil {
				return nil, fmt.Errorf("read %q: %w", line, err)
			}
			all = append(all, reading{string(gateway), string(measurement) + "." + string(name), time.Unix(0, at).UTC(), value})
		}
	}
	return all, nil
}
