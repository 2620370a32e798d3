package cli

import (
	"cmp"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"berth/provisioner/control"
	"berth/schema/record"
)

func (a *app) topic() *cobra.Command {
	cmd := &cobra.Command{Use: "topic", Short: "A provider's own topics of MQTT: whose readings they have, and in which format", Args: group, RunE: help}
	list := &cobra.Command{
		Use: "ls <provider>", Aliases: []string{"list"}, Short: "List a provider's topics in the order in which they are asked", Args: args(1), ValidArgsFunction: a.names,
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			p, err := c.Provider(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(p.Settings.Topics, func(w io.Writer) { printTopics(w, p.Settings.Topics) })
		}),
	}
	remove := &cobra.Command{
		Use: "rm <provider> <pattern>", Aliases: []string{"remove"}, Short: "Remove a topic by its pattern", Args: args(2), ValidArgsFunction: a.names,
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			return a.setTopics(cmd, c, args[0], control.SettingsChange{RemoveTopic: &args[1]})
		}),
	}
	cmd.AddCommand(a.addTopic(), list, remove)
	return cmd
}

func (a *app) addTopic() *cobra.Command {
	var (
		rule  record.TopicRule
		first bool
	)
	cmd := &cobra.Command{
		Use: "add <provider> <pattern>", Short: "Add a topic, or change the one with this pattern; it is live within a second", Args: args(2), ValidArgsFunction: a.names,
		Long: "Add a topic of MQTT that takes readings, or change the one with this pattern. In a pattern + is any one level and # at\n" +
			"the end any that follow; {gateway} is a level that names the gateway, {sensor} one that names the sensor of a bare value,\n" +
			"at the end together with all that follow. Of several topics that match the first holds; all come before readings/… and\n" +
			"the other topics that every provider has. They hold for what brokers pass on, too.",
		Example: "  provisioner topic add provider1 'plant/+/{gateway}/{sensor}'\n" +
			"  provisioner topic add provider1 'packs/{gateway}' --format senml+json\n" +
			"  provisioner topic add provider1 'meter7/#' --gateway meter7 --format json",
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			rule.Pattern = args[1]
			return a.setTopics(cmd, c, args[0], control.SettingsChange{AddTopic: &rule, FirstTopic: first})
		}),
	}
	addRule(cmd, &rule)
	cmd.Flags().BoolVar(&first, "first", false, "put it before the others")
	return cmd
}

// addRule adds the flags of what a rule says beside its pattern.
func addRule(cmd *cobra.Command, r *record.TopicRule) {
	cmd.Flags().StringVar(&r.Gateway, "gateway", "", "whose readings they are; without it what {gateway} names, else the sender's own")
	cmd.Flags().StringVar(&r.Format, "format", "", "how they are written: "+strings.Join(record.TopicFormats, ", ")+" (default: by content type or look; with {sensor} value)")
}

func (a *app) setTopics(cmd *cobra.Command, c *control.Client, provider string, change control.SettingsChange) error {
	answer, err := c.Set(cmd.Context(), provider, change)
	if err != nil {
		return err
	}
	err = a.print(answer.Topics, func(w io.Writer) { printTopics(w, answer.Topics) })
	return errors.Join(err, a.became(&answer.Taken, answer.Changed, provider))
}

func printTopics(w io.Writer, rules []record.TopicRule) {
	if len(rules) == 0 {
		sayln(w, "There is no topic of its own: readings/<gateway> and the others that every provider has are taken.")
		return
	}
	sayln(w, "TOPIC\tGATEWAY\tFORMAT")
	for _, r := range rules {
		gateway, format := cmp.Or(r.Gateway, "the sender"), cmp.Or(r.Format, "by content type or look")
		if r.Gateway == "" && strings.Contains(r.Pattern, "{gateway}") {
			gateway = "{gateway}"
		}
		if strings.Contains(r.Pattern, "{sensor}") {
			format = record.FormatValue
		}
		say(w, "%s\t%s\t%s\n", r.Pattern, gateway, format)
	}
}
