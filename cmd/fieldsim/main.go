// Command fieldsim simulates field gateways: it sends as they do, resends what was not acknowledged, and afterwards, if it
// is given the API, checks that every acknowledged reading is there once and with its value.
//
// Exit codes: 0 all good, 1 it could not be done, 2 wrong usage, 3 the check found readings lost, duplicated or wrong.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"berth/internal/gateways"
	"berth/internal/version"
	"berth/schema"
)

// Exit codes.
const (
	exitFailed   = 1
	exitUsage    = 2
	exitNotThere = 3
)

// errNotThere says that the check found readings lost, duplicated or wrong.
var errNotThere = errors.New("acknowledged readings are lost, duplicated or wrong")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(os.Stdout, os.Stderr).ExecuteContext(ctx)
	stop()
	switch {
	case err == nil:
		return
	case errors.Is(err, errNotThere):
		fmt.Fprintln(os.Stderr, "fieldsim:", err)
		os.Exit(exitNotThere)
	case schema.Is(err, schema.Invalid):
		fmt.Fprintln(os.Stderr, "fieldsim:", schema.Show(err))
		os.Exit(exitUsage)
	default:
		fmt.Fprintln(os.Stderr, "fieldsim:", err)
		os.Exit(exitFailed)
	}
}

// flags are what the command line gives.
type flags struct {
	fleet    gateways.Options
	api      gateways.API
	tlsCA    string
	duration time.Duration
	debug    bool
}

// outcome is what fieldsim prints at the end.
type outcome struct {
	Seconds float64 `json:"seconds"`
	gateways.Stats
	Check *gateways.Result `json:"check,omitempty"`
}

func command(out, log io.Writer) *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:     "fieldsim --address HOST:PORT --key KEY",
		Short:   "Simulate field gateways, and check that what was acknowledged is stored",
		Version: version.Version,
		Example: `  fieldsim --address 127.0.0.1:6001 --key bk_… --gateways 50 --duration 30s
  fieldsim --address 127.0.0.1:6001 --key bk_… --frames 1000 --api http://127.0.0.1:8080 --provider provider1 --token bt_…
  fieldsim --address 127.0.0.1:6001 --protocol coaps --psk gk_… --psk-identity field --gateways 50`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd.Context(), &f, out, log)
		},
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return schema.Errorf(schema.Invalid, "%v", err).WithNext("see %s --help", cmd.Name())
	})
	flag := cmd.Flags()
	flag.StringVar(&f.fleet.Address, "address", "", "the provider's host:port")
	flag.StringVar(&f.fleet.Key, "key", "", "its enrolment key")
	flag.StringVar(&f.fleet.Protocol, "protocol", "berth", strings.Join(gateways.Protocols(), ", ")+"; or several with commas between, in turn")
	flag.StringVar(&f.fleet.Format, "format", "line", "line, senml+json or senml+cbor")
	flag.StringVar(&f.fleet.PSK, "psk", "", "for coaps: the pre-shared key, as provisioner gateway add … --psk printed it")
	flag.StringVar(&f.fleet.Identity, "psk-identity", "", "for coaps: the relay whose key it is; without it the one gateway's")
	flag.StringVar(&f.tlsCA, "tls-ca", "", "connect by TLS, and trust the certificate in this file, as provisioner ca prints it")
	flag.StringVar(&f.fleet.Prefix, "prefix", "sim", "of the gateways' names")
	flag.IntVar(&f.fleet.Gateways, "gateways", 1, "how many gateways")
	flag.IntVar(&f.fleet.Sensors, "sensors", 8, "sensors of each gateway")
	flag.IntVar(&f.fleet.PerFrame, "per-frame", 1, "timestamps in a frame, each with a reading of every sensor")
	flag.Float64Var(&f.fleet.Rate, "rate", 1, "frames a second of each gateway; 0 is as fast as they are acknowledged")
	flag.IntVar(&f.fleet.Window, "window", 64, "frames of a gateway that may wait for their acknowledgement")
	flag.IntVar(&f.fleet.Frames, "frames", 0, "end after so many frames of each gateway; 0 is no end")
	flag.DurationVar(&f.fleet.Step, "step", 10*time.Millisecond, "between two timestamps")
	flag.DurationVar(&f.duration, "duration", 0, "end after this time; 0 is no end")
	flag.StringVar(&f.api.Base, "api", "", "the web's address, such as http://127.0.0.1:8080: check what was acknowledged")
	flag.StringVar(&f.api.Provider, "provider", "", "the provider's name, for the check")
	flag.StringVar(&f.api.Token, "token", "", "an API token of the provider, for the check")
	flag.BoolVar(&f.debug, "debug", false, "log each connection that ends")
	cmd.AddCommand(trucksCommand(out))
	return cmd
}

// run sends, prints a line a second, and checks.
func run(ctx context.Context, f *flags, out, log io.Writer) error {
	if f.fleet.Address == "" || f.fleet.Key == "" && f.fleet.Protocol != "coaps" {
		return schema.Errorf(schema.Invalid, "the provider's address and key are missing").
			WithNext("give --address and --key as `provisioner add` printed them")
	}
	if f.api.Base != "" && (f.api.Provider == "" || f.api.Token == "") {
		return schema.Errorf(schema.Invalid, "a check needs the provider and a token of its API").
			WithNext("give --provider, and --token from `provisioner token create`")
	}
	level := slog.LevelInfo
	if f.debug {
		level = slog.LevelDebug
	}
	f.fleet.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: level}))
	if f.tlsCA != "" {
		ca, err := os.ReadFile(f.tlsCA)
		if err != nil {
			return schema.Errorf(schema.Invalid, "%s cannot be read", f.tlsCA).WithNext("provisioner ca > %s", f.tlsCA).WithCause(err)
		}
		if f.fleet.TLS, err = gateways.Trust(ca); err != nil {
			return err
		}
	}
	fleet, err := gateways.New(f.fleet)
	if err != nil {
		return err
	}

	sendCtx, cancel := context.WithCancel(ctx)
	if f.duration > 0 {
		sendCtx, cancel = context.WithTimeout(ctx, f.duration)
	}
	defer cancel()
	start := time.Now()
	done := make(chan struct{})
	go func() {
		defer close(done)
		fleet.Run(sendCtx)
	}()
	report(done, fleet, start, log)

	result := outcome{Seconds: time.Since(start).Seconds(), Stats: fleet.Stats()}
	if f.api.Base != "" {
		check, err := fleet.Check(context.WithoutCancel(ctx), f.api)
		if err != nil {
			return err
		}
		result.Check = &check
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(result); err != nil {
		return fmt.Errorf("print the outcome: %w", err)
	}
	if result.Check != nil && !result.Check.Good() {
		return errNotThere
	}
	return nil
}

// report prints a line a second until done.
func report(done <-chan struct{}, fleet *gateways.Fleet, start time.Time, log io.Writer) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var before gateways.Stats
	for {
		select {
		case <-done:
			return
		case now := <-tick.C:
			s := fleet.Stats()
			fmt.Fprintf(log, "%4.0fs  %9d frames  %11d readings  %9d readings/s  p50 %v  p99 %v  reconnects %d\n",
				now.Sub(start).Seconds(), s.Acked, s.Readings, s.Readings-before.Readings, s.P50, s.P99, s.Reconnects)
			before = s
		}
	}
}
