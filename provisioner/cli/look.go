package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"

	"github.com/spf13/cobra"

	"berth/internal/logging"
	"berth/provisioner/control"
	"berth/provisioner/doctor"
	"berth/provisioner/plan"
	"berth/provisioner/runtime"
	"berth/schema"
	"berth/schema/record"
)

func (a *app) plan() *cobra.Command {
	return &cobra.Command{
		Use: "plan", Short: "Print what the daemon would do now, and why", Args: args(0),
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, _ []string) error {
			steps, err := c.Plan(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(steps, func(w io.Writer) {
				if len(steps) == 0 {
					sayln(w, "Nothing: all is as wanted.")
				}
				for _, s := range steps {
					sayln(w, s)
				}
			})
		}),
	}
}

func (a *app) logs() *cobra.Command {
	var (
		o    runtime.LogOptions
		role string
	)
	cmd := &cobra.Command{
		Use: "logs <provider | web>", Short: "Print what a provider's instances, or web, wrote", Args: args(1), ValidArgsFunction: a.names,
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			names, err := logNames(cmd, c, args[0], role)
			if err != nil {
				return err
			}
			if len(names) == 1 {
				out := a.lines(nil, "")
				defer out.flush()
				return c.Logs(cmd.Context(), names[0], o, out)
			}
			var (
				wg   sync.WaitGroup
				mu   sync.Mutex
				errs = make([]error, len(names))
			)
			for i, name := range names {
				wg.Go(func() {
					out := a.lines(&mu, plan.Roles()[i]+" | ")
					errs[i] = c.Logs(cmd.Context(), name, o, out)
					out.flush()
				})
				if !o.Follow {
					wg.Wait() // one after the other
				}
			}
			wg.Wait()
			return errors.Join(errs...)
		}),
	}
	cmd.Flags().BoolVarP(&o.Follow, "follow", "f", false, "go on with new lines until interrupted")
	cmd.Flags().IntVarP(&o.Lines, "lines", "n", 200, "how many of the last lines; 0: all that is kept")
	cmd.Flags().StringVar(&role, "role", "", "ingest or reports alone")
	return cmd
}

// logNames returns the instances whose logs are meant.
func logNames(cmd *cobra.Command, c *control.Client, name, role string) ([]string, error) {
	_, err := c.Provider(cmd.Context(), name)
	switch {
	case name == record.RoleWeb && schema.Is(err, schema.NotFound):
		return []string{record.RoleWeb}, nil
	case err != nil:
		return nil, err
	}
	var names []string
	for _, r := range plan.Roles() {
		if role == "" || role == r {
			names = append(names, plan.Unit{Provider: name, Role: r}.Name())
		}
	}
	if len(names) == 0 {
		return nil, schema.Errorf(schema.Invalid, "a pipeline has no role %q", role).WithNext("give --role ingest or --role reports")
	}
	return names, nil
}

// lines returns a writer of what instances wrote: for people, or with -o json as it is. Lines of several instances are
// told apart by a prefix, for people; theirs tell it themselves.
func (a *app) lines(mu *sync.Mutex, prefix string) *prefixed {
	if mu == nil {
		mu = new(sync.Mutex)
	}
	if a.output == "json" {
		return &prefixed{w: a.Out, mu: mu, render: func(line []byte) []byte { return line }}
	}
	return &prefixed{w: a.Out, mu: mu, prefix: prefix, render: logging.Render}
}

// prefixed writes whole lines, each rendered, with a prefix.
type prefixed struct {
	w      io.Writer
	mu     *sync.Mutex // held while lines are written
	prefix string
	render func(line []byte) []byte
	rest   []byte
}

// Write writes the lines that p completes.
func (l *prefixed) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	var out []byte
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			break
		}
		out = append(append(append(out, l.prefix...), l.render(line)...), '\n')
		l.rest = rest
	}
	if len(out) == 0 {
		return len(p), nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// flush writes a last line that was not completed.
func (l *prefixed) flush() {
	if len(l.rest) > 0 {
		_, _ = l.Write([]byte("\n"))
	}
}

// errUnwell says that doctor found something that fails; what it is has been printed.
var errUnwell = schema.Errorf(schema.Unavailable, "something needs you").WithNext("do what the lines marked fail say")

func (a *app) doctor() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Check what the installation stands on, and say what to do", Args: args(0),
		Long: "Check what the installation stands on, and each provider, and say what to do. It changes nothing and takes about\n" +
			"two seconds. There is a line for each thing that is wrong (warn: it works, but not for long or not well; fail: it\n" +
			"needs you), and one for each check that found nothing. The exit code is 8 when any line fails, else 0. With -o json\n" +
			"each is {name, provider, state, text, next}; names, states and keys are stable, texts are for people.",
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, _ []string) error {
			data, err := filepath.Abs(a.data)
			if err != nil {
				return fmt.Errorf("find the data directory: %w", err)
			}
			checks := doctor.Machine(data)
			status, err := c.Status(cmd.Context())
			if err == nil {
				checks = append(checks, doctor.Good("daemon", "pid %d, version %s, since %s", status.PID, status.Version, status.Started.Format("2006-01-02 15:04:05 MST")))
				var more []doctor.Check
				if more, err = c.Doctor(cmd.Context()); err != nil {
					return err
				}
				checks = append(checks, more...)
			} else {
				next := ""
				if e, ok := errors.AsType[*schema.Error](err); ok {
					next = e.Next
					err = errors.New(e.Text)
				}
				checks = append(checks, doctor.Bad(doctor.Fail, "daemon", next, "%v", err))
			}
			unwell := false
			for _, c := range checks {
				unwell = unwell || c.State == doctor.Fail
			}
			err = a.print(checks, func(w io.Writer) {
				for _, c := range checks {
					text := c.Text
					if c.Provider != "" {
						text = c.Provider + ": " + text
					}
					say(w, "%s\t%s\t%s\n", c.State, c.Name, text)
					if c.Next != "" {
						say(w, "\t\t→ %s\n", c.Next)
					}
				}
			})
			if err == nil && unwell {
				return errUnwell
			}
			return err
		}),
	}
}
