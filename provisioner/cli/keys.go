package cli

import (
	"cmp"
	"io"
	"time"

	"github.com/spf13/cobra"

	"berth/provisioner/control"
	"berth/schema"
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
	cmd := &cobra.Command{Use: "token", Short: "API tokens of a provider, or an operator's", Args: group, RunE: help}
	var name, scope, expires string
	var operator bool
	cmd.PersistentFlags().BoolVar(&operator, "operator", false, "an operator's, in the place of a provider's: it may do all that pages do, at all providers")
	whose := func(args []string, others int) (string, []string, error) { // of a provider or an operator, and the other arguments
		switch {
		case operator && len(args) == others:
			return "", args, nil
		case !operator && len(args) == others+1:
			return args[0], args[1:], nil
		}
		return "", nil, schema.Errorf(schema.Invalid, "it is not said whose token is meant").WithNext("give a provider, or --operator")
	}
	create := &cobra.Command{
		Use: "create <provider>", Short: "Make an API token; it is shown once", Args: atMostOne, ValidArgsFunction: a.names,
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			if name == "" {
				name = "token of " + time.Now().UTC().Format("2006-01-02 15:04:05.000")
			}
			provider, _, err := whose(args, 0)
			if err != nil {
				return err
			}
			ask := control.TokenRequest{Name: name, Scope: record.Scope(scope)}
			if expires != "" {
				span, err := control.ParseRetention(expires)
				if err != nil {
					return err
				}
				ask.Expires = time.Now().Add(span).UTC().Truncate(time.Second)
			}
			t, err := c.NewToken(cmd.Context(), provider, ask)
			if err != nil {
				return err
			}
			return a.print(t, func(w io.Writer) { sayln(w, t.Token) })
		}),
	}
	create.Flags().StringVar(&name, "name", "", "what the token is for (default: the time)")
	create.Flags().StringVar(&scope, "scope", "", "read, write (default), or manage: also people and tokens; an operator's has operate")
	create.Flags().StringVar(&expires, "expires", "", "after so long it opens nothing, such as 90d (default: never)")
	list := &cobra.Command{
		Use: "ls <provider>", Aliases: []string{"list"}, Short: "List API tokens", Args: atMostOne, ValidArgsFunction: a.names,
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			provider, _, err := whose(args, 0)
			if err != nil {
				return err
			}
			tokens, err := c.Tokens(cmd.Context(), provider)
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
		Use: "revoke <provider> <token's name>", Short: "End an API token", Args: atLeast(1), ValidArgsFunction: a.names,
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			provider, names, err := whose(args, 1)
			if err != nil {
				return err
			}
			t, err := c.RevokeToken(cmd.Context(), provider, names[0])
			if err != nil {
				return err
			}
			return a.print(t, func(w io.Writer) { say(w, "%s of %s is revoked.\n", t.Name, cmp.Or(t.Provider, "an operator")) })
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
