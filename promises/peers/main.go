// Command peers measures Berth beside VictoriaMetrics and InfluxDB 1.x, in one run on one machine: the same readings of a
// fleet of trucks, by the same sender, in the same requests, over the same protocol; then the same questions. Each is
// started alone, with its data in a folder of its own, and stopped afterwards. Absolute times mean this machine, with the
// sender on it; compare within one run.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"berth/promises/install"
)

// options say what is measured.
type options struct {
	readings, trucks, days int
	batch, workers         int
	rounds                 int
	only, dir              string
	keep, sendOnly         bool
	keyspaces              string // URL of Berth's; empty: embedded
	start                  time.Time
	log                    io.Writer
}

func main() {
	o := options{log: io.Discard}
	flag.IntVar(&o.readings, "readings", 15_000_000, "about how many readings")
	flag.IntVar(&o.trucks, "trucks", 100, "how many trucks they are of")
	flag.IntVar(&o.days, "days", 30, "over how many days, the last ending at midnight")
	flag.IntVar(&o.batch, "batch", 64<<10, "bytes of a request, at most")
	flag.IntVar(&o.workers, "workers", 8, "requests at once")
	flag.IntVar(&o.rounds, "rounds", 1, "how often all are measured in turn")
	flag.StringVar(&o.only, "only", "", "measure only those whose names begin so, in any case, with commas between")
	flag.StringVar(&o.dir, "dir", "", "a folder on the disk to measure on; default that for temporary files")
	flag.BoolVar(&o.keep, "keep", false, "keep the folders of data, and say where they are")
	flag.BoolVar(&o.sendOnly, "send-only", false, "measure the sending alone, which takes seconds: to compare two states of the source, in turn")
	onNode := flag.Bool("on-cassandra", false, "measure Berth on a Cassandra node beside one row per reading on the same, and nothing else")
	verbose := flag.Bool("verbose", false, "print what the programs log")
	flag.Parse()
	if *verbose {
		o.log = os.Stderr
	}
	o.start = time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -o.days)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	act := run
	if *onNode {
		act = onCassandra
	}
	err := act(ctx, &o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// run measures all that are there, and names those that are not, first and last.
func run(ctx context.Context, o *options) (failed error) {
	var there []peer
	var missing []string
	for _, p := range peers {
		if !slices.ContainsFunc(strings.Split(o.only, ","), func(begin string) bool {
			return strings.HasPrefix(strings.ToLower(p.name), strings.ToLower(begin))
		}) {
			continue
		}
		if why := p.missing(); why != "" {
			missing = append(missing, why)
			continue
		}
		there = append(there, p)
	}
	say := func() {
		for _, m := range missing {
			fmt.Println(m)
		}
	}
	say()
	defer say()
	l, err := generate(o)
	if err != nil {
		return err
	}
	fmt.Printf("%d readings of %d trucks in %d days, %.0f MB of line protocol in %d requests, %d at once; %d processors, load average %s\n",
		l.readings, o.trucks, o.days, float64(l.bytes)/1e6, len(l.bodies), o.workers, runtime.NumCPU(), loadAverage())
	for round := range o.rounds {
		if o.rounds > 1 {
			fmt.Printf("\nround %d\n", round+1)
		}
		var results []*result
		for i := range there {
			r, err := measure(ctx, o, &there[i], l)
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("measure %s: %w", there[i].name, err))
				continue
			}
			results = append(results, r)
		}
		failed = errors.Join(failed, table(results))
	}
	fmt.Printf("\nload average %s\n", loadAverage())
	return failed
}

// loadAverage says how busy the machine has been.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	fields := bytes.Fields(text)
	if err != nil || len(fields) == 0 {
		return "not known"
	}
	return string(fields[0])
}

// result is what came out of one.
type result struct {
	peer     *peer
	readings int64
	sending
	loaded, settled install.Usage // of the server: at the last acknowledgement, and when it had settled
	disk            int64
	settling        time.Duration
	asked           [questions]time.Duration // median
	values          [questions]int           // that an answer held, the last one
}

// measure starts one, sends it the load, counts what it has, and asks the questions.
func measure(ctx context.Context, o *options, p *peer, l *load) (*result, error) {
	dir, err := os.MkdirTemp(o.dir, "berth-peers")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	if o.keep {
		fmt.Printf("%s is in %s\n", p.name, dir)
	} else {
		defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	}
	r, err := p.open(ctx, o, dir)
	if err != nil {
		return nil, err
	}
	defer r.stop()
	out := &result{peer: p}
	idle, err := install.Used(r.pid)
	if err != nil {
		return nil, err
	}
	if out.sending, err = l.send(ctx, r, o.workers); err != nil {
		return nil, err
	}
	if out.loaded, err = install.Used(r.pid); err != nil {
		return nil, err
	}
	out.loaded.CPU -= idle.CPU
	if o.sendOnly {
		out.readings, out.settled = int64(l.readings), out.loaded
		return out, nil
	}
	begun := time.Now()
	if err := r.settle(ctx); err != nil {
		return nil, err
	}
	if out.disk, err = steady(ctx, r.dir, 45*time.Second, 3*time.Minute); err != nil {
		return nil, err
	}
	out.settling = time.Since(begun)
	if out.settled, err = install.Used(r.pid); err != nil {
		return nil, err
	}
	out.settled.CPU -= idle.CPU
	if out.readings, err = r.count(ctx); err != nil {
		return nil, err
	}
	if out.readings != int64(l.readings) {
		fmt.Printf("%s has %d readings, sent and acknowledged were %d\n", p.name, out.readings, l.readings)
	}
	return out, out.ask(ctx, r, l)
}

// ask asks each question several times, about another truck and day each time.
func (out *result) ask(ctx context.Context, r *running, l *load) error {
	const times = 15
	for q, ask := range r.ask {
		var took []time.Duration
		for n := range times {
			begun := time.Now()
			values, err := ask(ctx, l.fleet, n)
			if err != nil {
				return fmt.Errorf("ask for the %s: %w", questionNames[q], err)
			}
			took = append(took, time.Since(begun))
			out.values[q] = values
		}
		slices.Sort(took)
		out.asked[q] = took[times/2]
	}
	return nil
}

// table prints what came out, a column for each, with the first one's ratio in brackets.
func table(results []*result) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
	row := func(what, format string, value func(r *result) float64) {
		fmt.Fprint(w, what)
		for i, r := range results {
			fmt.Fprintf(w, "\t"+format, value(r))
			if i > 0 && value(results[0]) > 0 {
				fmt.Fprintf(w, " (%.2f)", value(r)/value(results[0]))
			}
		}
		fmt.Fprintln(w)
	}
	fmt.Fprint(w, "\n(ratio to the first)")
	for _, r := range results {
		fmt.Fprintf(w, "\t%s", r.peer.name)
	}
	fmt.Fprint(w, "\nacknowledged means")
	for _, r := range results {
		fmt.Fprintf(w, "\t%s", r.peer.means)
	}
	fmt.Fprintln(w)
	each := func(r *result) float64 { return float64(max(r.readings, 1)) }
	row("readings there", "%.0f", func(r *result) float64 { return float64(r.readings) })
	row("M readings/s", "%.2f", func(r *result) float64 { return float64(r.readings) / r.took.Seconds() / 1e6 })
	row("request p50, ms", "%.2f", func(r *result) float64 { return r.p50.Seconds() * 1e3 })
	row("request p99, ms", "%.2f", func(r *result) float64 { return r.p99.Seconds() * 1e3 })
	row("requests told to wait", "%.0f", func(r *result) float64 { return float64(r.slowed) })
	row("CPU of sender, s", "%.2f", func(r *result) float64 { return r.cpu.Seconds() })
	row("CPU of server until acknowledged, s", "%.2f", func(r *result) float64 { return r.loaded.CPU.Seconds() })
	row("resident at most, MB", "%.0f", func(r *result) float64 { return float64(r.settled.Peak) / 1e6 })
	if len(results) == 0 || results[0].disk == 0 { // the sending alone was measured
		return w.Flush()
	}
	row("CPU of server until settled, s", "%.2f", func(r *result) float64 { return r.settled.CPU.Seconds() })
	row("settled after, s", "%.0f", func(r *result) float64 { return r.settling.Seconds() })
	row("bytes on disk a reading", "%.2f", func(r *result) float64 { return float64(r.disk) / each(r) })
	row("resident when settled, MB", "%.0f", func(r *result) float64 { return float64(r.settled.Resident) / 1e6 })
	for q := range questions {
		row(questionNames[q]+", ms", "%.1f", func(r *result) float64 { return r.asked[q].Seconds() * 1e3 })
		row("  values in an answer", "%.0f", func(r *result) float64 { return float64(r.values[q]) })
	}
	return w.Flush()
}
