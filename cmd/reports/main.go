// Command reports answers questions about one provider's readings. The provisioner starts it; its exit codes are those of
// package service.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"berth/cmd/internal/service"
	"berth/internal/keyspace/open"
	"berth/reports"
)

func main() {
	var flags service.Flags
	var options reports.Options
	cmd := &cobra.Command{
		Use:   "reports",
		Short: "Answer questions about a provider's readings",
		RunE: func(cmd *cobra.Command, _ []string) error {
			credentials, err := flags.Credentials()
			if err != nil {
				return err
			}
			options.Bus, options.Credentials = flags.Bus, credentials
			if options.Trust, err = flags.Trust(); err != nil {
				return err
			}
			options.Instance, options.Spec = flags.Instance, flags.Spec
			options.Logger = flags.Logger(os.Stderr, cmd.Name(), options.Provider)
			options.Keyspaces = open.Expand(options.Keyspaces, os.Getenv)
			instance, err := reports.New(options)
			if err != nil {
				return err
			}
			return flags.Run(cmd.Context(), instance, nil, nil)
		},
	}
	flags.Add(cmd.Flags())
	cmd.Flags().StringVar(&options.Provider, "provider", "", "the provider's name")
	cmd.Flags().StringVar(&options.Keyspaces, "keyspaces", "", "URL of the keyspaces, such as sqlite:var/keyspaces")
	cmd.Flags().StringVar(&options.Listen, "listen", "127.0.0.1:0", "host:port of the API; port 0 is any")
	cmd.Flags().StringVar(&options.Announce, "announce", "", "network, such as 172.18.0.0/16, in which others reach the API; empty: where it listens")
	cmd.Flags().StringVar(&options.Font, "font", os.Getenv("BERTH_FONT"), "file of a TrueType font with Latin and Chinese, for reports as PDF; empty: one that the system has (BERTH_FONT)")
	os.Exit(service.Main(cmd))
}
