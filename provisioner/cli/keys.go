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
