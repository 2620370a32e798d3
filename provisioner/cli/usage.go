package cli

import (
	"io"

	"github.com/spf13/cobra"

	"berth/internal/usage"
	"berth/provisioner/control"
	"berth/schema"
)

// usage shows what providers used.
func (a *app) usage() *cobra.Command {
	var q usage.Query
	var by string
	var table bool
	cmd := &cobra.Command{
		Use: "usage [provider]", Short: "What providers used, by day or month of UTC: readings, bytes, gateways, storage, rejected", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: a.names,
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			if by != "day" && by != "month" {
				return schema.Errorf(schema.Invalid, "%q is no period", by).WithNext("give --by day or --by month")
			}
			if q.ByMonth = by == "month"; len(args) > 0 {
				q.Provider = args[0]
			}
			u, err := c.Usage(cmd.Context(), q)
			if err == nil && len(u.Usage) == 0 && q.Provider != "" { // one that is gone may have used something
				_, err = c.Provider(cmd.Context(), q.Provider)
			}
			if err != nil {
				return err
			}
			if table {
				return usage.WriteCSV(a.Out, u.Usage)
			}
			return a.print(u, func(w io.Writer) { printUsage(w, u.Usage) })
		}),
	}
	cmd.Flags().StringVar(&by, "by", "month", "day or month")
	cmd.Flags().StringVar(&q.Month, "month", "", "that month alone, such as 2026-11")
	cmd.Flags().BoolVar(&table, "csv", false, "as comma-separated values, for billing")
	return cmd
}

func printUsage(w io.Writer, rows []usage.Row) {
	if len(rows) == 0 {
		sayln(w, "Nothing is written down yet: it is looked at every 30 seconds")
		return
	}
	sayln(w, "PROVIDER\tPERIOD\tREADINGS\tREJECTED\tFRAMES\tREFUSED\tBYTES\tGATEWAYS\tSTORAGE")
	for i := range rows {
		r := &rows[i]
		say(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", r.Provider, r.Period, r.Readings, r.Rejected, r.Frames, r.Refused, r.Bytes, r.Gateways, r.Storage)
	}
}
