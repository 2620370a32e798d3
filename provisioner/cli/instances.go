package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"berth/provisioner/control"
	"berth/provisioner/plan"
	"berth/schema"
)

func (a *app) restart() *cobra.Command {
	var limit time.Duration
	var newPassword bool
	cmd := &cobra.Command{
		Use: "restart <provider>", Short: "Stop and start a provider's pipeline", Args: args(1), ValidArgsFunction: a.names,
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			act := c.Restart
			if newPassword {
				act = c.Renew
			}
			p, err := act(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if limit > 0 {
				if p, err = a.waitReady(cmd.Context(), c, args[0], limit); err != nil {
					return err
				}
			}
			return a.print(p, func(w io.Writer) { say(w, "%s was restarted, and is %s.\n", p.Name, p.State) })
		}),
	}
	waiting(cmd, &limit, "until the pipeline is ready")
	cmd.Flags().BoolVar(&newPassword, "new-password", false, "with other credentials of NATS, and another password of its role in the keyspaces' cluster: the old ones are revoked")
	return cmd
}

func (a *app) stop() *cobra.Command {
	var limit time.Duration
	cmd := &cobra.Command{
		Use: "stop <provider>", Short: "Stop a provider's pipeline until it is started again", Args: args(1), ValidArgsFunction: a.names,
		Long: "Stop a provider's pipeline. It stays stopped, also when the daemon is started again, until provisioner start.\n" +
			"Gateways cannot connect and keep what they have; readings, keys, settings and the port stay.",
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			answer, err := c.Stop(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if limit > 0 {
				stopped := func(p *control.Provider) bool { return p.State == control.Stopped }
				if answer.Provider, err = a.wait(cmd.Context(), c, args[0], limit, "stopped", stopped); err != nil {
					return err
				}
			}
			return a.print(answer, func(w io.Writer) {
				printChanged(w, answer, "was stopped before", "is "+answer.State+": provisioner start "+answer.Name)
			})
		}),
	}
	waiting(cmd, &limit, "until the pipeline is stopped")
	return cmd
}

func (a *app) start() *cobra.Command {
	var limit time.Duration
	cmd := &cobra.Command{
		Use: "start <provider>", Short: "Start a provider's pipeline that was stopped", Args: args(1), ValidArgsFunction: a.names,
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			answer, err := c.Start(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if limit > 0 {
				if answer.Provider, err = a.waitReady(cmd.Context(), c, args[0], limit); err != nil {
					return err
				}
			}
			return a.print(answer, func(w io.Writer) { printChanged(w, answer, "was started before", "was started, and is "+answer.State) })
		}),
	}
	waiting(cmd, &limit, "until the pipeline is ready")
	return cmd
}

func printChanged(w io.Writer, answer control.Changed, before, now string) {
	if answer.Changed {
		say(w, "%s %s.\n", answer.Name, now)
	} else {
		say(w, "%s is unchanged: it %s.\n", answer.Name, before)
	}
}

// exited is the exit code of a command that was run within an instance, in the place of one of our own.
type exited int

// Error returns what is never shown.
func (e exited) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func (a *app) exec() *cobra.Command {
	return &cobra.Command{
		Use: "exec <provider> ingest|reports -- <command> [argument ...]", Short: "Run a command of an instance's program within the instance",
		Long: "Run a command of an instance's own program within the instance, such as its health check:\n\n" +
			"  provisioner exec provider1 ingest -- health\n\n" +
			"The exit code is the command's. Only containers can do that: a process of this machine has no inside.",
		Args:              atLeast(3),
		ValidArgsFunction: a.names,
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			if !slices.Contains(plan.Roles(), args[1]) {
				return schema.Errorf(schema.Invalid, "a pipeline has no role %q", args[1]).WithNext("give ingest or reports")
			}
			code, err := c.Exec(cmd.Context(), args[0], control.ExecRequest{Role: args[1], Args: args[2:]}, a.Out, a.Err)
			if err == nil && code != 0 {
				return exited(code)
			}
			return err
		}),
	}
}

func (a *app) gc() *cobra.Command {
	var req control.CollectRequest
	cmd := &cobra.Command{
		Use: "gc", Short: "List instances that no record wants, and remove them with --apply", Args: args(0),
		Long: "List the instances of this installation that no record wants: of providers that there are not, and of roles that a\n" +
			"pipeline does not have. Nothing stops them by itself, since a record may be what is lost. With --apply those are\n" +
			"removed that are older than --older-than. Readings are not touched.",
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, _ []string) error {
			answer, err := c.Collect(cmd.Context(), req)
			if err != nil {
				return err
			}
			return a.print(answer, func(w io.Writer) {
				for _, s := range answer.Steps {
					sayln(w, s)
				}
				switch {
				case len(answer.Steps) == 0:
					sayln(w, "Nothing: every instance is wanted.")
				case !req.Apply:
					sayln(w, "Nothing was done: provisioner gc --apply does it.")
				}
			})
		}),
	}
	cmd.Flags().BoolVar(&req.Apply, "apply", false, "remove them")
	cmd.Flags().DurationVar(&req.Grace, "older-than", plan.OrphanGrace, "leave younger ones alone")
	return cmd
}

// waitReady waits until the provider is ready, or stopped as somebody wanted it, and says on the way what it waits for.
func (a *app) waitReady(ctx context.Context, c *control.Client, name string, limit time.Duration) (control.Provider, error) {
	return a.wait(ctx, c, name, limit, "ready", func(p *control.Provider) bool { return p.Settled() })
}

// wait waits until the provider is done, and says on the way what it waits for.
func (a *app) wait(ctx context.Context, c *control.Client, name string, limit time.Duration, what string, done func(*control.Provider) bool) (control.Provider, error) {
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last control.Provider
	p, err := c.Wait(within, name, done, func(p control.Provider) {
		last = p
		if p.Detail != "" && a.output == "table" {
			say(a.Err, "%s: %s\n", p.Name, p.Detail)
		}
	})
	if err != nil && ctx.Err() == nil && errors.Is(within.Err(), context.DeadlineExceeded) {
		return p, schema.Errorf(schema.Unavailable, "%s is not %s after %v: %s", name, what, limit, last.Detail).
			WithNext("it goes on by itself; see provisioner show %s and provisioner logs %s", name, name)
	}
	return p, err
}
