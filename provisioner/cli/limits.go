package cli

import (
	"io"
	"strings"

	"github.com/spf13/pflag"

	"berth/provisioner/control"
	"berth/schema/record"
)

// limitHelp says what each limit is of, by the name that schema/record gives it.
var limitHelp = map[string]string{
	"readings_per_second":         "readings a second of the provider; beyond it senders are slowed",
	"bytes_per_second":            "bytes of payloads a second of the provider; beyond it senders are slowed",
	"gateway_readings_per_second": "readings a second of one gateway; beyond it it is slowed",
	"gateway_bytes_per_second":    "bytes of payloads a second of one gateway; beyond it it is slowed",
	"connections":                 "connections at once",
	"connections_per_address":     "connections at once of one remote address",
	"connections_per_gateway":     "connections at once of one gateway",
	"gateways":                    "gateways",
	"sensors_per_gateway":         "sensors of one gateway",
	"log_bytes":                   "size of the log; senders are slowed when it is nearly full",
	"keyspace_bytes":              "size of the keyspace; beyond it frames are refused",
}

// flagOf returns the flag that sets a limit.
func flagOf(limit *record.Limit) string { return strings.ReplaceAll(limit.Name, "_", "-") }

func isBytes(limit *record.Limit) bool { return strings.Contains(limit.Name, "bytes") }

// addLimits adds a flag for each limit.
func addLimits(f *pflag.FlagSet) {
	for _, each := range record.EachLimit() {
		help := limitHelp[each.Name] + " (at first " + control.FormatAmount(each.Default, isBytes(&each)) + ")"
		f.String(flagOf(&each), "", help)
	}
}

// limitsGiven returns the limits whose flags were given, nil when none was.
func limitsGiven(f *pflag.FlagSet) (map[string]int64, error) {
	var given map[string]int64
	for _, each := range record.EachLimit() {
		flag := f.Lookup(flagOf(&each))
		if flag == nil || !flag.Changed {
			continue
		}
		n, err := control.ParseAmount(flag.Value.String())
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

// printLimits prints the limits under the names of their flags.
func printLimits(w io.Writer, l record.Limits) {
	for _, each := range record.EachLimit() {
		say(w, "%s\t%s\n", strings.ReplaceAll(each.Name, "_", " "), control.FormatAmount(*each.Field(&l), isBytes(&each)))
	}
}
