package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"berth/provisioner/control"
	"berth/provisioner/plan"
	"berth/schema"
	"berth/schema/record"
)

// errReverted says that an image did not get healthy, so that the one before it is back; which and why has been printed.
var errReverted = schema.Errorf(schema.Unavailable, "the new image did not get healthy, and the one before it is back").
	WithNext("see what it wrote: provisioner logs")

// Default is how people write that a runtime's own default is wanted.
const defaultWord = "default"

func (a *app) update() *cobra.Command {
	var (
		req   control.UpdateRequest
		image string
		yes   bool
		limit time.Duration
	)
	cmd := &cobra.Command{
		Use: "update <provider>", Short: "Change what a provider's instances may use, and their image", Args: args(1), ValidArgsFunction: a.names,
		Long: "Change what a provider's containers may use, in place, and of which image they are. The steps are shown first. A new\n" +
			"image replaces the old one: gateways are away for a few seconds. When it does not get healthy within a minute, or\n" +
			"ends again and again, the old one comes back by itself, and the exit code is 8. Processes have neither.",
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			var err error
			if req.Resources, err = resourcesGiven(cmd.Flags()); err != nil {
				return err
			}
			if cmd.Flags().Changed("image") {
				if image == defaultWord {
					image = ""
				}
				req.Image = &image
			}
			if req.Image == nil && req.Resources == nil {
				return schema.Errorf(schema.Invalid, "nothing to update is given").WithNext("see %s --help", cmd.CommandPath())
			}
			return a.updateOf(cmd, c, args[0], req, yes, limit)
		}),
	}
	f := cmd.Flags()
	f.String("memory", "", "most memory of an instance, such as 128m or 1GiB")
	f.String("cpus", "", "most processors of an instance, such as 0.5")
	f.String("pids", "", "most threads and processes of an instance")
	f.String("files", "", "most open files of an instance; from its next start on")
	f.StringVar(&image, "image", "", "image of the instances, such as berth/{role}:v2; default is the one of the daemon's version")
	f.StringVar(&req.Role, "role", "", "ingest or reports alone")
	f.BoolVar(&req.DryRun, "dry-run", false, "show the steps, and do nothing")
	f.BoolVar(&yes, "yes", false, "do not ask")
	f.DurationVar(&limit, "wait", 2*time.Minute, "how long to wait until it is done, or a new image is taken back; 0: not at all")
	return cmd
}

// updateOf shows what an update would do, asks, has it done and waits for what comes of it.
func (a *app) updateOf(cmd *cobra.Command, c *control.Client, name string, req control.UpdateRequest, yes bool, limit time.Duration) error {
	first := req
	first.DryRun = true
	answer, err := c.Update(cmd.Context(), name, first)
	if err != nil {
		return err
	}
	if req.DryRun || !answer.Changed.Changed {
		return a.print(answer, func(w io.Writer) { printPlanned(w, answer) })
	}
	if a.output == "table" {
		printPlanned(a.Err, answer)
	}
	if !yes {
		if err := a.agree(name); err != nil {
			return err
		}
	}
	if answer, err = c.Update(cmd.Context(), name, req); err != nil {
		return err
	}
	if limit > 0 {
		if answer.Provider, err = a.waitReady(cmd.Context(), c, name, limit); err != nil {
			return err
		}
	}
	back := revertedOf(&answer)
	if err := a.print(answer, func(w io.Writer) {
		switch {
		case back != "":
			say(w, "%s is %s, but not updated: %s.\n", name, answer.State, back)
		case !answer.Settled():
			say(w, "%s is being updated: provisioner show %s.\n", name, name)
		default:
			say(w, "%s is updated, and %s.\n", name, answer.State)
		}
	}); err != nil {
		return err
	}
	if back != "" {
		return errReverted
	}
	return nil
}

// printPlanned prints the steps of an update.
func printPlanned(w io.Writer, answer control.Updated) {
	if !answer.Changed.Changed {
		say(w, "%s is unchanged.\n", answer.Name)
		return
	}
	for _, s := range answer.Steps {
		if s.Kind != plan.Wait {
			sayln(w, s)
		}
	}
	for _, note := range answer.Notes {
		say(w, "note: %s\n", note)
	}
}

// agree asks whether to go on.
func (a *app) agree(name string) error {
	say(a.Err, "Type yes to go on: ")
	line, err := bufio.NewReader(a.In).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer: %w", err)
	}
	if strings.TrimSpace(line) != "yes" {
		sayln(a.Err)
		return schema.Errorf(schema.Invalid, "%s was not updated: nobody said yes", name).WithNext("type it, or give --yes")
	}
	return nil
}

// revertedOf tells which images came back, or nothing. Asking for an image forgets what came of the one before.
func revertedOf(answer *control.Updated) string {
	var all []string
	for _, role := range plan.Roles() {
		if w := answer.Roles[role]; w.Reverted != nil {
			all = append(all, control.Reverted(role, w))
		}
	}
	return strings.Join(all, "; ")
}

// resourceFlag returns the flag that sets a resource.
func resourceFlag(name string) string {
	if name == "milli_cpu" {
		return "cpus"
	}
	return name
}

// resourcesGiven returns the resources whose flags were given, nil when none was.
func resourcesGiven(f *pflag.FlagSet) (map[string]int64, error) {
	var given map[string]int64
	for _, each := range record.EachResource() {
		flag := f.Lookup(resourceFlag(each.Name))
		if !flag.Changed {
			continue
		}
		n, err := parseResource(each.Name, flag.Value.String())
		if err != nil {
			return nil, err
		}
		if given == nil {
			given = map[string]int64{}
		}
		given[each.Name] = n
	}
	return given, nil
}

// parseResource reads what a resource's flag says; default is 0. Memory is read as Docker does: 128m is 128 MiB.
func parseResource(name, s string) (int64, error) {
	switch {
	case s == defaultWord:
		return 0, nil
	case name == "milli_cpu":
		n, err := strconv.ParseFloat(s, 64)
		if err != nil || !(n > 0 && n < 1e6) {
			return 0, schema.Errorf(schema.Invalid, "%q is no number of processors", s).WithNext("give one such as 0.5 or 2, or default")
		}
		return int64(n * 1000), nil
	case name == "memory":
		if number := strings.TrimRight(s, "bBkKmMgG"); len(s)-len(number) == 1 {
			s = number + strings.ToUpper(s[len(number):]) + "i"
		}
	}
	n, err := control.ParseAmount(strings.Replace(s, "Bi", "", 1))
	if err == nil && n == 0 {
		err = schema.Errorf(schema.Invalid, "%s of nothing cannot be", name).WithNext("give more, or default")
	}
	return n, err
}

// formatResource writes a resource as its flag reads it.
func formatResource(name string, n int64) string {
	if name == "milli_cpu" {
		return strconv.FormatFloat(float64(n)/1000, 'f', -1, 64)
	}
	return control.FormatAmount(n, name == "memory")
}
