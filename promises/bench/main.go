// Command bench prints, in one run, the figures that README quotes: the codecs alone, then the real programs end to end
// with the sender on the same machine. Absolute times mean this machine; compare within one run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"berth/internal/keyspace/cassandra/cassandratest"
	"berth/promises/install"
)

func main() {
	benchtime := flag.Duration("benchtime", time.Second, "of each codec benchmark")
	load := flag.Duration("load", 5*time.Second, "of each measurement end to end")
	engines := flag.Bool("engines", false, "measure on a Cassandra node and in containers too, which docker/cassandra/node and docker/engine start; without the codecs")
	memory := flag.Int("memory", 0, "measure only what so many connections cost, by protocol")
	small := flag.Bool("small", false, "measure only frames of one reading, by protocol")
	gate := flag.Bool("protocols", false, "measure only acknowledged messages by MQTT and CoAP, beside mosquitto")
	queries := flag.Bool("queries", false, "measure only questions about a month of one gateway through web; with -engines on a Cassandra node too")
	verbose := flag.Bool("verbose", false, "print what the programs log")
	flag.Parse()
	log := io.Discard
	if *verbose {
		log = os.Stderr
	}
	o := options{benchtime: *benchtime, load: *load, engines: *engines, onlySmall: *small, onlyQueries: *queries, log: log}
	ctx, err := context.Background(), error(nil)
	switch {
	case *memory > 0:
		err = o.memory(ctx, *memory)
	case *gate:
		err = protocols(ctx, o.benchtime)
	default:
		err = run(ctx, &o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options say what is measured.
type options struct {
	benchtime, load time.Duration
	engines         bool
	onlySmall       bool
	onlyQueries     bool
	log             io.Writer
}

// run prints everything.
func run(ctx context.Context, o *options) error {
	if !o.engines && !o.onlySmall && !o.onlyQueries {
		fmt.Println("# Codecs, one core")
		if err := codecs(ctx, o.benchtime); err != nil {
			return err
		}
		if err := protocols(ctx, o.benchtime); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "berth-bench")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	if err := install.Build(ctx, dir); err != nil {
		return err
	}
	if o.onlySmall {
		return o.small(ctx, dir, os.Stdout)
	}
	fmt.Println("\n# End to end, the sender on the same machine")
	data := filepath.Join(dir, "var")
	embedded := filepath.Join(data, "keyspaces", "provider1")
	err = o.measure(ctx, dir, data, "", func(context.Context) (int64, error) { return sizeOf(embedded) })
	if err != nil {
		return err
	}
	if o.onlyQueries && !o.engines {
		return nil
	}
	if !o.engines {
		return o.small(ctx, dir, os.Stdout)
	}
	if err := o.onCassandra(ctx, dir); err != nil {
		return err
	}
	if o.onlyQueries {
		return nil
	}
	return o.inContainers(ctx, dir)
}

// onCassandra measures the same on a Cassandra node. What it has on disk is counted after a restart,
// which writes what was in the commit log alone into tables.
func (o *options) onCassandra(ctx context.Context, dir string) error {
	place := filepath.Join(dir, "cassandra")
	if err := os.Mkdir(place, 0o700); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	node := cassandratest.New(place, "HEAP=1g", "NICE=0")
	if err := node.Start(ctx); err != nil {
		return err
	}
	defer func() { node.Kill() }()
	fmt.Println("\n# The same on Cassandra, one node, heap 1 GB, on the same machine")
	return o.measure(ctx, dir, filepath.Join(dir, "var-cassandra"), "cassandra://"+node.Address, func(ctx context.Context) (int64, error) {
		node.Stop()
		if err := node.Start(ctx); err != nil {
			return 0, err
		}
		return sizeOf(filepath.Join(place, "data", "data", "berth_provider1"))
	})
}

// inContainers measures the embedded keyspaces and NATS once more, with the instances in containers of a Docker engine that
// is started for it.
func (o *options) inContainers(ctx context.Context, dir string) (err error) {
	place := filepath.Join(dir, "docker")
	address := "unix://" + filepath.Join(place, "docker.sock")
	if err := o.script(ctx, "OWN=1", "docker/engine", "start", place); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, o.script(context.WithoutCancel(ctx), "OWN=1", "docker/engine", "remove", place))
	}()
	if err := o.script(ctx, "DOCKER_HOST="+address, "docker/images", dir, "dev", "bench"); err != nil {
		return err
	}
	fmt.Println("\n# The same as the first, instances in containers of a Docker engine")
	data := filepath.Join(dir, "var-containers")
	keyspace := filepath.Join(data, "keyspaces", "provider1")
	return o.measure(ctx, dir, data, "", func(context.Context) (int64, error) { return sizeOf(keyspace) },
		"--runtime", "docker", "--docker-host", address)
}

// script runs a script of the repository's, told one thing more by its environment.
func (o *options) script(ctx context.Context, env, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env)
	cmd.Stdout, cmd.Stderr = o.log, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", name, args[0], err)
	}
	return nil
}

// measure measures an installation whose keyspaces are at a URL, and whose keyspace occupies what size returns, with more
// flags of serve.
func (o *options) measure(
	ctx context.Context, bin, data, keyspaces string, size func(ctx context.Context) (int64, error), flags ...string,
) error {
	in, err := install.New(ctx, bin, data, o.log)
	if err != nil {
		return err
	}
	in.Keyspaces, in.Flags = keyspaces, flags
	if _, err := in.Start(ctx); err != nil {
		return err
	}
	defer in.Stop()
	if err := in.AwaitWeb(ctx); err != nil {
		return err
	}
	s := &suite{install: in, load: o.load, onlyQueries: o.onlyQueries, size: size, out: os.Stdout}
	return s.all(ctx)
}

// packages are those whose benchmarks README quotes.
var packages = []string{"./schema/block", "./schema/batch", "./ingest/format"}

// codecs runs the benchmarks of the codecs and passes on what they print.
func codecs(ctx context.Context, benchtime time.Duration) error {
	return benchmarks(ctx, append([]string{"-bench", ".", "-benchmem", "-cpu", "1", "-benchtime", benchtime.String()}, packages...)...)
}

// protocols runs the benchmarks of the port: messages of one reading and of fifty that are acknowledged once a log on disk has
// them, by MQTT at QoS 1 and confirmable CoAP, and the same to mosquitto, which stores nothing.
func protocols(ctx context.Context, benchtime time.Duration) error {
	fmt.Println("\n# Acknowledged messages by MQTT at QoS 1 and confirmable CoAP, the log on disk, the senders in the same process; mosquitto stores nothing")
	return benchmarks(ctx, "-bench", "^Benchmark(MQTT|CoAP)$", "-benchtime", benchtime.String(), "./ingest/gate")
}

// benchmarks runs benchmarks and passes on what they print.
func benchmarks(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-run", "^$"}, args...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run benchmarks: %w", err)
	}
	return nil
}
