// Package cli is the provisioner's command line: it reads flags and environment, asks the daemon, and prints. The
// daemon itself is one of its commands. It leaves every judgement to the daemon.
//
// Its one invariant: what goes to Out is the answer, in a form that scripts may rely on with -o json; everything else
// goes to Err.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"berth/internal/lifecycle"
	"berth/provisioner/control"
	"berth/schema"
)

// Exit codes.
const (
	ExitDone        = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitNotFound    = 3
	ExitConflict    = 4
	ExitForbidden   = 5
	ExitUnavailable = 6
	ExitLimited     = 7
	ExitUnwell      = 8
	ExitInterrupted = 130
)

const exitCodes = `Exit codes:
  0    done, or unchanged
  1    something went wrong inside; health: the daemon does not answer
  2    wrong usage, or a value that cannot be
  3    there is no such provider, token or gateway
  4    something else holds or changed it
  5    not allowed
  6    the daemon does not run or does not answer, or a wait took too long
  7    a limit is reached
  8    doctor, or audit, found something that is wrong; or update had to take an image back
  130  interrupted`

// Options are what the command line works with. All are needed.
type Options struct {
	In        io.Reader
	Out, Err  io.Writer
	LookupEnv func(string) (string, bool)
	Environ   []string // the daemon's own environment, which its instances get, without BERTH_...
	Programs  string   // the folder of the programs that the daemon runs
	Invoked   string   // how the command line was called, such as bin/provisioner
	Version   string
}

// app is one run of the command line.
type app struct {
	Options
	data   string
	output string
}

// Run runs a command line and returns the exit code.
func Run(ctx context.Context, o Options, args []string) int {
	a := &app{Options: o}
	root := a.root() //nolint:contextcheck // each command takes the context that it is executed with
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitDone
	}
	if _, ok := errors.AsType[exited](err); !ok {
		a.complain(err)
	}
	return exitCode(err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "provisioner",
		Short:         "Provide ports, keyspaces and pipelines for providers of sensor readings",
		Long:          "provisioner serve is the daemon; every other command asks the one that runs in the data directory.\n\n" + exitCodes,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          group,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.environment(cmd.Flags()); err != nil {
				return err
			}
			if a.output != "table" && a.output != "json" {
				return schema.Errorf(schema.Invalid, "%q is no form of output", a.output).WithNext("give -o table or -o json")
			}
			return nil
		},
		RunE: help,
	}
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.PersistentFlags().StringVar(&a.data, "data", "./var", "data directory of the daemon (BERTH_DATA)")
	root.PersistentFlags().StringVarP(&a.output, "output", "o", "table", "form of the answer: table or json (BERTH_OUTPUT)")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return schema.Errorf(schema.Invalid, "%v", err).WithNext("see %s --help", cmd.CommandPath())
	})
	root.AddCommand(
		a.serve(), a.add(), a.list(), a.show(), a.remove(), a.start(), a.stop(), a.restart(), a.update(), a.exec(), a.gc(), a.logs(), a.plan(), a.set(), a.link(),
		a.token(), a.gateway(), a.topic(), a.source(), a.ca(), a.rejects(), a.aside(), a.audit(), a.usage(), a.export(), a.doctor(), a.natsConfig(), a.health(), a.version(),
	)
	return root
}

// environment sets each flag that was not given from its variable: --port-base from BERTH_PORT_BASE.
func (a *app) environment(set *pflag.FlagSet) error {
	var err error
	set.VisitAll(func(f *pflag.Flag) {
		name := "BERTH_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, given := a.LookupEnv(name)
		if f.Changed || !given || err != nil || !strings.Contains(f.Usage, name) {
			return
		}
		if setErr := set.Set(f.Name, value); setErr != nil {
			err = schema.Errorf(schema.Invalid, "%s=%q cannot be: %v", name, value, setErr)
		}
	})
	return err
}

// client returns a client of the daemon.
func (a *app) client() (*control.Client, error) {
	data, err := filepath.Abs(a.data)
	if err != nil {
		return nil, fmt.Errorf("find the data directory: %w", err)
	}
	return control.NewClient(data), nil
}

// asking makes a command's function of one that asks the daemon.
func (a *app) asking(fn func(cmd *cobra.Command, c *control.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		ctx, cancel := lifecycle.Run(cmd.Context(), 0)
		defer cancel()
		cmd.SetContext(ctx)
		return fn(cmd, c, args)
	}
}

// complain prints what went wrong, in the form that was asked for.
func (a *app) complain(err error) {
	e, known := errors.AsType[*schema.Error](err)
	if !known {
		e = schema.Errorf(schema.Internal, "%v", err)
	}
	if a.output == "json" {
		_ = a.json(a.Err, struct {
			Code schema.Code `json:"code"`
			Text string      `json:"text"`
			Next string      `json:"next,omitempty"`
		}{e.Code, e.Text, e.Next})
		return
	}
	text := e.Text
	if e.Cause != nil && e.Code != schema.Unavailable {
		text += ": " + e.Cause.Error()
	}
	say(a.Err, "provisioner: %s\n", text)
	if e.Next != "" {
		say(a.Err, "  %s\n", e.Next)
	}
}

func exitCode(err error) int {
	if errors.Is(err, errUnhealthy) {
		return ExitFailed
	}
	if errors.Is(err, errUnwell) || errors.Is(err, errUnbalanced) || errors.Is(err, errReverted) {
		return ExitUnwell
	}
	if code, ok := errors.AsType[exited](err); ok {
		return int(code)
	}
	if _, ok := errors.AsType[*lifecycle.Signaled](err); ok {
		return ExitInterrupted
	}
	switch schema.CodeOf(err) {
	case schema.Invalid, schema.TooLarge:
		return ExitUsage
	case schema.NotFound:
		return ExitNotFound
	case schema.Conflict:
		return ExitConflict
	case schema.Unauthorized, schema.Forbidden, schema.Pending:
		return ExitForbidden
	case schema.Unavailable:
		return ExitUnavailable
	case schema.Limited:
		return ExitLimited
	default:
		return ExitFailed
	}
}

// print writes the answer: v as JSON, or what table writes, its columns aligned.
func (a *app) print(v any, table func(w io.Writer)) error {
	if a.output == "json" {
		return a.json(a.Out, v)
	}
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	table(w)
	return w.Flush()
}

func (a *app) json(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// say prints. A terminal that is gone cannot be told so.
func say(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }

// sayln prints a line.
func sayln(w io.Writer, args ...any) { _, _ = fmt.Fprintln(w, args...) }

// args checks the number of arguments and says what is missing.
func args(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		plural := "s"
		if n == 1 {
			plural = ""
		}
		return schema.Errorf(schema.Invalid, "%s takes %d argument%s, not %d", cmd.CommandPath(), n, plural, len(args)).
			WithNext("usage: %s", cmd.UseLine())
	}
}

// atLeast checks that there are arguments enough.
func atLeast(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= n {
			return nil
		}
		return schema.Errorf(schema.Invalid, "%s takes at least %d arguments, not %d", cmd.CommandPath(), n, len(args)).WithNext("usage: %s", cmd.UseLine())
	}
}

// atMostOne checks the arguments of a command that takes one or none.
func atMostOne(cmd *cobra.Command, args []string) error {
	if len(args) <= 1 {
		return nil
	}
	return schema.Errorf(schema.Invalid, "%s takes at most 1 argument, not %d", cmd.CommandPath(), len(args)).WithNext("usage: %s", cmd.UseLine())
}

// group checks the arguments of a command that only has commands below it: any argument is one that it does not have.
func group(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	next := "see " + cmd.CommandPath() + " --help"
	if cmd.SuggestionsMinimumDistance == 0 {
		cmd.SuggestionsMinimumDistance = 2 // what cobra takes where nothing is said
	}
	if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
		next = fmt.Sprintf("did you mean %s %s? Else %s", cmd.CommandPath(), like[0], next)
	}
	return schema.Errorf(schema.Invalid, "%s has no command %q", cmd.CommandPath(), args[0]).WithNext("%s", next)
}

// help is what a command does that only has commands below it.
func help(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// names completes the first argument with the providers' names.
func (a *app) names(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	const none = cobra.ShellCompDirectiveNoFileComp
	if len(args) > 0 || a.environment(cmd.Flags()) != nil {
		return nil, none
	}
	c, err := a.client()
	if err != nil {
		return nil, none
	}
	defer c.Close()
	all, err := c.Providers(cmd.Context(), false)
	if err != nil {
		return nil, none
	}
	var names []string
	for _, p := range all {
		names = append(names, p.Name)
	}
	return names, none
}

func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: args(0),
		RunE: func(*cobra.Command, []string) error {
			return a.print(map[string]string{"version": a.Version}, func(w io.Writer) { sayln(w, a.Version) })
		},
	}
}
