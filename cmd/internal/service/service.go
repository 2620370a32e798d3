// Package service is what the commands of instances (ingest, reports, web) share: flags that may also come from the
// environment, the logger, and a run from start to stop. It leaves what is started to each command.
//
// What an instance says goes to standard error, in the form of internal/logging.
//
// Exit codes: 0 stopped as asked, 1 could not do its work, 2 wrong usage, 3 taken over by a newer instance.
package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"
	_ "time/tzdata" // zones of providers, also where the machine has none

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"berth/internal/bus"
	"berth/internal/health"
	"berth/internal/lifecycle"
	"berth/internal/logging"
	"berth/internal/version"
	"berth/schema"
)

// Exit codes.
const (
	ExitFailed    = 1
	ExitUsage     = 2
	ExitTakenOver = 3
)

// stopLimit bounds an orderly stop as a whole.
const stopLimit = 20 * time.Second

// Flags are those that every instance knows. Each may also be given in the environment: --port-base as
// BERTH_PORT_BASE.
type Flags struct {
	Bus             string
	CredentialsFile string
	CAFile          string
	CertFile        string
	KeyFile         string
	Instance        string
	Spec            string
	Health          string
	ParentFD        int
	LogFormat       string
	Debug           bool

	service string
}

// Instance is what a command runs. Start returns when the instance does its work; Stop may be called twice.
type Instance interface {
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
}

// Add adds the flags to a command.
func (f *Flags) Add(set *pflag.FlagSet) {
	f.service = set.Name()
	set.StringVar(&f.Bus, "nats", "", "URL of the NATS server, or of several of a cluster")
	set.StringVar(&f.CAFile, "nats-ca", "", "file with whom to trust of NATS servers at tls://; empty: whom the machine trusts")
	set.StringVar(&f.CertFile, "nats-cert", "", "file with a certificate to show to NATS servers that ask for one")
	set.StringVar(&f.KeyFile, "nats-key", "", "file with that certificate's key")
	set.StringVar(&f.CredentialsFile, "credentials", "", "file with the instance's NATS credentials")
	set.StringVar(&f.Instance, "instance", "", "the instance's name in the registry")
	set.StringVar(&f.Spec, "spec", "", "hash of what the instance was started with")
	set.StringVar(&f.Health, "health", "", health.Usage)
	set.IntVar(&f.ParentFD, "parent-fd", 0, "file descriptor of a pipe: when it closes, the parent has gone and so goes the instance")
	set.StringVar(&f.LogFormat, "log-format", logging.JSON, "form of the log: json, text, or auto (text on a terminal)")
	set.BoolVar(&f.Debug, "debug", false, "log in detail")
}

// Logger returns the logger of the instance of a provider, or of the house when that is empty.
func (f *Flags) Logger(w io.Writer, service, provider string) *slog.Logger {
	return logging.New(w, logging.Options{
		Service: service, Provider: provider, Instance: f.Instance, Form: f.LogFormat, Debug: f.Debug,
	})
}

// Credentials reads the credentials file.
func (f *Flags) Credentials() (bus.Credentials, error) {
	text, err := os.ReadFile(f.CredentialsFile)
	if err != nil {
		return nil, schema.Errorf(schema.Invalid, "the NATS credentials cannot be read").
			WithNext("give --credentials the file that the provisioner wrote").WithCause(err)
	}
	return text, nil
}

// Trust reads whom to trust of NATS servers.
func (f *Flags) Trust() (bus.Trust, error) { return bus.ReadTrust(f.CAFile, f.CertFile, f.KeyFile) }

// Run starts the instance, waits for a signal, the parent's end or done, and stops it. A nil done never ends it; what
// failed returns is why done closed.
func (f *Flags) Run(ctx context.Context, instance Instance, done <-chan struct{}, failed func() error) error {
	ctx, cancel := lifecycle.Run(ctx, f.ParentFD)
	defer cancel()
	answerer, err := health.Listen(ctx, f.Health, strings.TrimSpace(f.service+" "+f.Instance))
	if err != nil {
		return err
	}
	defer answerer.Close()
	if err := instance.Start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	answerer.Say("runs")
	var why error
	select {
	case <-ctx.Done():
	case <-done:
		why = failed()
	}
	answerer.Say("stops")
	stopCtx, stop := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer stop()
	return errors.Join(why, instance.Stop(stopCtx))
}

// Main executes the command and returns the exit code. Flags that were not given are taken from the environment.
func Main(cmd *cobra.Command) int {
	cmd.Version = version.Version
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return schema.Errorf(schema.Invalid, "%s has no command %q", cmd.CommandPath(), args[0]).WithNext("see %s --help", cmd.CommandPath())
	}
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return schema.Errorf(schema.Invalid, "%v", err).WithNext("see %s --help", cmd.CommandPath())
	})
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if err := FromEnvironment(cmd.Flags()); err != nil {
			return err
		}
		return logging.CheckForm(cmd.Flag("log-format").Value.String())
	}
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.AddCommand(healthCommand(cmd.Name()))
	cmd, err := cmd.ExecuteContextC(context.Background())
	if err == nil {
		return 0
	}
	sayWhy(cmd, err)
	switch {
	case errors.Is(err, bus.ErrTakenOver):
		return ExitTakenOver
	case schema.Is(err, schema.Invalid):
		return ExitUsage
	default:
		return ExitFailed
	}
}

// healthCommand asks the program of that name whether it runs. Exit code 0: it does.
func healthCommand(name string) *cobra.Command {
	var address string
	cmd := &cobra.Command{
		Use: healthName, Short: "Ask the " + name + " that runs here whether it does: exit code 0, or 1 with the reason", Args: cobra.NoArgs,
		PreRunE: func(cmd *cobra.Command, _ []string) error { return FromEnvironment(cmd.Flags()) },
		RunE: func(cmd *cobra.Command, _ []string) error {
			said, err := health.Ask(cmd.Context(), address)
			if err == nil {
				fmt.Println(said)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&address, "health", "", health.AskUsage)
	return cmd
}

const healthName = "health"

// sayWhy says why the program ends: who called it wrongly, or asked, in plain words, else in the log.
func sayWhy(cmd *cobra.Command, err error) {
	if schema.Is(err, schema.Invalid) || cmd.Name() == healthName {
		fmt.Fprintf(os.Stderr, "%s: %s\n", cmd.CommandPath(), schema.Show(err))
		return
	}
	f := cmd.Flags()
	value := func(name string) string {
		if flag := f.Lookup(name); flag != nil {
			return flag.Value.String()
		}
		return ""
	}
	logging.New(os.Stderr, logging.Options{
		Service: cmd.Name(), Provider: value("provider"), Instance: value("instance"), Form: value("log-format"),
	}).Error("the program ends since it cannot go on", "error", err)
}

// FromEnvironment sets each flag that was not given from its variable, where there is one.
func FromEnvironment(set *pflag.FlagSet) error {
	var err error
	set.VisitAll(func(flag *pflag.Flag) {
		name := "BERTH_" + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
		value, given := os.LookupEnv(name)
		if flag.Changed || !given || err != nil {
			return
		}
		if setErr := set.Set(flag.Name, value); setErr != nil {
			err = schema.Errorf(schema.Invalid, "%s=%q cannot be: %v", name, value, setErr)
		}
	})
	return err
}
