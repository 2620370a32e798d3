package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/provisioner/control"
	"berth/provisioner/plan"
	"berth/schema/record"
)

func (a *app) list() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List the providers", Args: args(0),
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, _ []string) error {
			providers, err := c.List(cmd.Context(), all)
			if err != nil {
				return err
			}
			orphans, err := c.Orphans(cmd.Context())
			if err != nil {
				return err
			}
			if n := len(orphans); n > 0 {
				defer say(a.Err, "%d instances are there that no record wants: provisioner gc\n", n)
			}
			return a.print(providers, func(w io.Writer) { printProviders(w, providers) })
		}),
	}
	cmd.Flags().BoolVar(&all, "all", false, "also those that are removed")
	return cmd
}

func printProviders(w io.Writer, providers []control.Provider) {
	if len(providers) == 0 {
		sayln(w, "There is no provider yet: provisioner add provider1")
		return
	}
	sayln(w, "PROVIDER\tSLOT\tPORT\tKEYSPACE\tHOST\tVERSION\tSTATE\tRESTARTS\tMEMORY\tDETAIL")
	for i := range providers {
		p := &providers[i]
		say(w, "%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", p.Name, p.Slot, p.Port, p.Keyspace,
			each(p, hostOf), each(p, versionOf), p.State, restarts(p), memory(p), p.Detail)
	}
}

// each returns what a provider's instances have in common, or what each has.
func each(p *control.Provider, what func(*control.Instance) string) string {
	var all []string
	for i := range p.Instances {
		if one := what(&p.Instances[i]); !slices.Contains(all, one) {
			all = append(all, one)
		}
	}
	return or(strings.Join(all, ","))
}

func versionOf(i *control.Instance) string { return cmp.Or(i.Program, i.Version) }

func hostOf(i *control.Instance) string { return cmp.Or(i.Host, "local") }

// restarts returns how often a provider's instances were started again after they had ended, or hung, by themselves.
func restarts(p *control.Provider) string {
	n := 0
	for _, i := range p.Instances {
		n += i.Restarts
	}
	return strconv.Itoa(n)
}

// memory returns what a provider's instances use together, as far as it is known of all.
func memory(p *control.Provider) string {
	sum := int64(0)
	for _, i := range p.Instances {
		if i.Memory == nil {
			return "-"
		}
		sum += *i.Memory
	}
	if sum == 0 {
		return "-"
	}
	return mebibytes(sum)
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func (a *app) show() *cobra.Command {
	return &cobra.Command{
		Use: "show <provider>", Short: "Show a provider: state, settings, instances", Args: args(1), ValidArgsFunction: a.names,
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			p, err := c.Show(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(p, func(w io.Writer) { printProvider(w, p) })
		}),
	}
}

func printProvider(w io.Writer, p control.Provider) {
	state := p.State
	if p.Detail != "" {
		state += ": " + p.Detail
	}
	say(w, "provider\t%s\nstate\t%s\nslot\t%d\nport\t%d\nkeyspace\t%s\ncreated\t%s\n",
		p.Name, state, p.Slot, p.Port, p.Keyspace, p.Created.Format(time.RFC3339))
	if p.Removed != nil {
		say(w, "removed\t%s\ndata kept\t%v\n", p.Removed.Format(time.RFC3339), p.DataKept)
	}
	printSettings(w, p.Settings)
	for _, role := range plan.Roles() {
		printWish(w, role, p.Roles[role])
	}
	for i := range p.Instances {
		printInstance(w, &p.Instances[i])
	}
}

// printWish prints what is wanted of a role's instances beyond the defaults.
func printWish(w io.Writer, role string, wish record.Wish) {
	for _, each := range record.EachResource() {
		if n := *each.Field(&wish.Resources); n != 0 {
			say(w, "%s %s\t%s\n", role, resourceFlag(each.Name), formatResource(each.Name, n))
		}
	}
	if wish.Image != "" {
		say(w, "%s image\t%s\n", role, wish.Image)
	}
	if t := wish.Trial; t != nil {
		say(w, "%s trial\tsince %s; unless it gets healthy the image %s comes back\n", role, t.Begun.Format(time.RFC3339), plan.ImageName(t.Before))
	}
	if wish.Reverted != nil {
		say(w, "%s reverted\t%s\n", role, control.Reverted(role, wish))
	}
}

func printInstance(w io.Writer, i *control.Instance) {
	say(w, "%s\t%s", i.Role, i.State)
	if i.Says != "" {
		say(w, ", %s", i.Says)
	}
	if i.Since != nil {
		say(w, " since %s (%s)", i.Since.Format(time.RFC3339), i.Detail)
	}
	if i.PID != 0 {
		say(w, ", pid %d", i.PID)
	}
	for _, more := range []string{i.Host, i.Address, i.Reason, i.Image} {
		if more != "" {
			say(w, ", %s", more)
		}
	}
	if i.Unhealthy != "" {
		say(w, ", not healthy: %s", oneLine(i.Unhealthy))
	}
	if i.Memory != nil {
		say(w, ", %s", mebibytes(*i.Memory))
	}
	if i.Restarts > 0 {
		say(w, ", %d restarts", i.Restarts)
	}
	say(w, ", spec %s, version %s, since %s\n", i.Hash, versionOf(i), i.Started.Format(time.RFC3339))
}

func printSettings(w io.Writer, s control.Settings) {
	tag := s.GatewayTag
	if tag == "" {
		tag = "gateway, else host"
	}
	say(w, "gateway tag\t%s\nattribute tags\t%s\nretention\t%s\nfuture\t%s\ntimezone\t%s\n", tag, strings.Join(s.AttributeTags, ", "), s.Retention, s.Future, s.Timezone)
	if s.RequireTLS {
		say(w, "tls\trequired\n")
	} else {
		say(w, "tls\ttaken, and plain connections too\n")
	}
	for _, r := range s.Topics {
		say(w, "topic\t%s\n", r.Pattern)
	}
	if len(s.Networks) > 0 {
		say(w, "without a key\t%s\n", strings.Join(s.Networks, ", "))
	}
	for _, subject := range s.ClientCA {
		say(w, "client CA\t%s\n", subject)
	}
	if s.Approve {
		say(w, "new gateways\twait for approval\n")
	}
	printLimits(w, s.Limits)
}
