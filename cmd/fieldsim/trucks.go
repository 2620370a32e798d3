package main

import (
	"bufio"
	"io"
	"time"

	"github.com/spf13/cobra"

	"berth/internal/trucks"
	"berth/schema"
)

// trucksCommand prints the readings of a fleet of trucks, for whatever takes line protocol.
func trucksCommand(out io.Writer) *cobra.Command {
	var o trucks.Options
	cmd := &cobra.Command{
		Use:   "trucks",
		Short: "Print a fleet's readings as line protocol, in the shape of the Time Series Benchmark Suite's IoT case",
		Example: `  fieldsim trucks --readings 100000 > trucks.line
  curl -H "Authorization: Bearer $KEY" --data-binary @trucks.line http://127.0.0.1:6001/write`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if o.Trucks < 1 || o.Days < 1 || o.Readings < 1 {
				return schema.Errorf(schema.Invalid, "a fleet has at least one truck, day and reading")
			}
			o.Start = time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -o.Days)
			w := bufio.NewWriterSize(out, 64<<10)
			err := trucks.New(o).Drive(func(lines []byte, _ int) error {
				_, err := w.Write(lines)
				return err
			})
			if err != nil {
				return err
			}
			return w.Flush()
		},
	}
	flag := cmd.Flags()
	flag.IntVar(&o.Trucks, "trucks", 100, "how many trucks")
	flag.IntVar(&o.Days, "days", 30, "over how many days, the last ending at midnight, UTC")
	flag.IntVar(&o.Readings, "readings", 1_000_000, "about how many readings, of all trucks together")
	return cmd
}
