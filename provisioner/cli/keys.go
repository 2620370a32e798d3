package cli

import (
	"io"
	"time"

	"github.com/spf13/cobra"

	"berth/provisioner/control"
	"berth/schema/record"
)

func (a *app) link() *cobra.Command {
	var (
		role string
		ask  control.LinkRequest
	)
	cmd := &cobra.Command{
		Use: "link [provider]", Short: "Make a one-time sign-in link: a provider's admin's, or the operator's", ValidArgsFunction: a.names,
		Args: atMostOne,
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			if len(args) == 1 {
				ask.Provider = args[0]
			}
			ask.Role = record.Role(role)
			l, err := c.Link(cmd.Context(), ask)
			if err != nil {
				return err
			}
			return a.print(l, func(w io.Writer) { sayln(w, l.URL) })
		}),
	}
	cmd.Flags().StringVar(&role, "role", "", "of a provider's: admin or viewer (default admin)")
	cmd.Flags().BoolVar(&ask.Invite, "invite", false, "whoever opens it chooses a name and a password to sign in with from then on")
	return cmd
}

func (a *app) token() *cobra.Command {
	cmd := &cobra.Command{Use: "token", Short: "API tokens of a provider", Args: group, RunE: help}
	var name, scope, expires string
	create := &cobra.Command{
		Use: "create <provider>", Short: "Make an API token; it is shown once", Args: args(1), ValidArgsFunction: a.names,
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			if name == "" {
				name = "token of " + time.Now().UTC().Format("2006-01-02 15:04:05.000")
			}
			ask := control.TokenRequest{Name: name, Scope: record.Scope(scope)}
			if expires != "" {
				span, err := control.ParseRetention(expires)
				if err != nil {
					return err
				}
				ask.Expires = time.Now().Add(span).UTC().Truncate(time.Second)
			}
			t, err := c.NewToken(cmd.Context(), args[0], ask)
			if err != nil {
				return err
			}
			return a.print(t, func(w io.Writer) { sayln(w, t.Token) })
		}),
	}
	create.Flags().StringVar(&name, "name", "", "what the token is for (default: the time)")
	create.Flags().StringVar(&scope, "scope", string(record.ScopeWrite), "read, write, or manage: also people and tokens")
	create.Flags().StringVar(&expires, "expires", "", "after so long it opens nothing, such as 90d (default: never)")
	list := &cobra.Command{
		Use: "ls <provider>", Aliases: []string{"list"}, Short: "List a provider's API tokens", Args: args(1), ValidArgsFunction: a.names,
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			tokens, err := c.Tokens(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(tokens, func(w io.Writer) {
				sayln(w, "TOKEN\tSCOPE\tCREATED\tEXPIRES\tLAST USED")
				for _, t := range tokens {
					say(w, "%s\t%s\t%s\t%s\t%s\n", t.Name, t.Scope, t.Created.Format(time.RFC3339), stampOr(t.Expires, "never"), stampOr(t.Used, "never"))
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

// stampOr writes a time, or the other word for none.
func stampOr(t time.Time, none string) string {
	if t.IsZero() {
		return none
	}
	return t.Format(time.RFC3339)
}
