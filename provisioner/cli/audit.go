package cli

import (
	"io"
	"time"

	"github.com/spf13/cobra"

	"berth/internal/api"
	"berth/provisioner/control"
	"berth/schema"
)

// errUnbalanced says that an audit found something; what it is has been printed.
var errUnbalanced = schema.Errorf(schema.Internal, "the books do not balance").WithNext("do what the lines marked → say")

// audit recounts a provider's books.
func (a *app) audit() *cobra.Command {
	return &cobra.Command{
		Use: "audit <provider>", Short: "Recount the books: totals, log, every stored block, rollups and newest readings", Args: args(1), ValidArgsFunction: a.names,
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			r, err := c.Audit(cmd.Context(), args[0], func(text string) {
				if a.output == "table" {
					say(a.Err, "%s\n", text)
				}
			})
			if err != nil {
				return err
			}
			if err := a.print(r, func(w io.Writer) { printAudit(w, r) }); err != nil {
				return err
			}
			if !r.Balanced {
				return errUnbalanced
			}
			return nil
		}),
	}
}

func printAudit(w io.Writer, r *api.Audit) {
	f, n, l, k := r.Books.Frames, r.Books.Readings, r.Log, r.Keyspace
	say(w, "frames\t%d received = %d committed + %d rejected + %d given up + %d in hand\n", f.Received, f.Committed, f.Rejected, f.GivenUp, f.InHand)
	say(w, "readings\t%d accepted, %d of committed frames rejected\n", n.Accepted, n.Rejected)
	say(w, "log\t%d messages, %d to %d, each held against the one before it\n", l.Messages, l.First, l.Last)
	say(w, "\t%d readings in them, each looked up; %d too old to be shown; %d messages trimmed meanwhile\n", l.Readings, l.Expired, l.Trimmed)
	say(w, "stored\t%d different readings of %d gateways\n", k.Identities, k.Gateways)
	say(w, "\t%d readings in %d blocks, %d in tails and head, all decoded\n", k.Stored, k.Blocks, k.Tails)
	say(w, "\t%d rollups and %d newest readings compared; %d rollups were moving\n", k.Rollups, k.Latest, k.Moving)
	if r.Books.NotKept > 0 || r.Books.Aside > 0 {
		say(w, "aside\t%d pieces set aside, %d rejects not kept\n", r.Books.Aside, r.Books.NotKept)
	}
	took := r.Ended.Sub(r.Begun).Round(time.Millisecond)
	if r.Balanced {
		say(w, "\nThe books balance; recounted in %v.\n", took)
		return
	}
	say(w, "\n%d things are wrong; recounted in %v.\n", r.Found, took)
	for _, f := range r.Findings {
		say(w, "%s\t%s\t%s\n", f.What, f.Where, f.Text)
		if f.Next != "" {
			say(w, "\t\t→ %s\n", f.Next)
		}
	}
	if more := r.Found - len(r.Findings); more > 0 {
		say(w, "and %d more\n", more)
	}
}
