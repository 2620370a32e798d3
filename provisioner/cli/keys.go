package cli

import (
	"io"
	"time"

	"github.com/spf13/cobra"

	"berth/provisioner/control"
)

func (a *app) link() *cobra.Command {
	return &cobra.Command{
		Use: "link [provider]", Short: "Make a one-time sign-in link: a provider's admin's, or the operator's", ValidArgsFunction: a.names,
		Args: atMostOne,
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			provider := ""
			if len(args) == 1 {
				provider = args[0]
			}
			l, err := c.Link(cmd.Context(), provider)
			if err != nil {
				return err
			}
			return a.print(l, func(w io.Writer) { sayln(w, l.URL) })
		}),
	}
}

func (a *app) token() *cobra.Command {
	cmd := &cobra.Command{Use: "token", Short: "API tokens of a provider", Args: group, RunE: help}
	var name string
	create := &cobra.Command{
		Use: "create <provider>", Short: "Make an API token; it is shown once", Args: args(1), ValidArgsFunction: a.names,
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			if name == "" {
				name = "token of " + time.Now().UTC().Format("2006-01-02 15:04:05.000")
			}
			t, err := c.NewToken(cmd.Context(), args[0], name)
			if err != nil {
				return err
			}
			return a.print(t, func(w io.Writer) { sayln(w, t.Token) })
		}),
	}
	create.Flags().StringVar(&name, "name", "", "what the token is for (default: the time)")
	list := &cobra.Command{
		Use: "ls <provider>", Aliases: []string{"list"}, Short: "List a provider's API tokens", Args: args(1), ValidArgsFunction: a.names,
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			tokens, err := c.Tokens(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(tokens, func(w io.Writer) {
				sayln(w, "TOKEN\tCREATED")
				for _, t := range tokens {
					say(w, "%s\t%s\n", t.Name, t.Created.Format(time.RFC3339))
				}
			})
		}),
	}
	revoke := &cobra.Command{
		Use: "revoke <provider> <token's name>", Short: "End an API token", Args: args(2), ValidArgsFunction: a.names,
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			t, err := c.RevokeToken(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			return a.print(t, func(w io.Writer) { say(w, "%s of %s is revoked.\n", t.Name, t.Provider) })
		}),
	}
	cmd.AddCommand(create, list, revoke)
	return cmd
}

func (a *app) gateway() *cobra.Command {
	cmd := &cobra.Command{Use: "gateway", Short: "Keys of single gateways", Args: group, RunE: help}
	var relay bool
	add := a.gatewayAct("add", "Give a gateway a key of its own; it is shown once, and the enrolment key no longer serves it", &relay)
	add.Flags().BoolVar(&relay, "relay", false, "the key may speak for many gateways, as of a Telegraf or a broker")
	list := &cobra.Command{
		Use: "ls <provider>", Aliases: []string{"list"}, Short: "List the gateways that have, or had, a key of their own", Args: args(1), ValidArgsFunction: a.names,
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			gateways, err := c.Gateways(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(gateways, func(w io.Writer) {
				sayln(w, "GATEWAY\tRELAY\tCREATED\tREVOKED")
				for _, g := range gateways {
					revoked := "-"
					if g.Revoked != nil {
						revoked = g.Revoked.Format(time.RFC3339)
					}
					say(w, "%s\t%v\t%s\t%s\n", g.Gateway, g.Relay, g.Created.Format(time.RFC3339), revoked)
				}
			})
		}),
	}
	cmd.AddCommand(add, list,
		a.gatewayAct("revoke", "Shut a gateway out: neither its own key nor the enrolment key opens the port for it", new(bool)),
		a.gatewayAct("rotate", "Replace a gateway's key; the new one is shown once", new(bool)))
	return cmd
}

// notLive says that a change waits for the provider's ingest, if it does.
func (a *app) notLive(waits bool, provider string) {
	if waits && a.output == "table" {
		say(a.Err, "This is live once ingest answers: provisioner show %s\n", provider)
	}
}

func (a *app) gatewayAct(act, short string, relay *bool) *cobra.Command {
	return &cobra.Command{
		Use: act + " <provider> <gateway>", Short: short, Args: args(2), ValidArgsFunction: a.names,
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			k, err := c.Gateway(cmd.Context(), args[0], act, control.GatewayRequest{Gateway: args[1], Relay: *relay})
			if err != nil {
				return err
			}
			a.notLive(k.Changed && !k.Live, args[0])
			return a.print(k, func(w io.Writer) {
				switch {
				case k.Key != "":
					sayln(w, k.Key)
				case k.Changed:
					say(w, "%s is revoked.\n", k.Gateway.Gateway)
				case act == "add":
					say(w, "%s is unchanged; its key cannot be shown again: provisioner gateway rotate %s %s\n", args[1], args[0], args[1])
				default:
					say(w, "%s is unchanged.\n", k.Gateway.Gateway)
				}
			})
		}),
	}
}
