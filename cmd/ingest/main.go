// Command ingest takes one provider's readings in. The provisioner starts it; its exit codes are those of package
// service.
package main

import (
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"berth/cmd/internal/service"
	"berth/ingest"
	"berth/internal/keyspace/open"
	"berth/schema"
)

// garbage is how much the heap may grow between collections, in percent: most instances are idle most of the time, and
// memory is what many of them share.
const garbage = 50

func main() {
	debug.SetGCPercent(garbage)
	var flags service.Flags
	var options ingest.Options
	var secret string
	cmd := &cobra.Command{
		Use:   "ingest",
		Short: "Take a provider's readings in",
		RunE: func(cmd *cobra.Command, _ []string) error {
			credentials, err := flags.Credentials()
			if err != nil {
				return err
			}
			options.Bus, options.Credentials = flags.Bus, credentials
			if options.Trust, err = flags.Trust(); err != nil {
				return err
			}
			if secret != "" {
				if options.Secret, err = os.ReadFile(secret); err != nil {
					return schema.Errorf(schema.Invalid, "the pipeline's secret cannot be read").
						WithNext("give --pipeline-secret the file that the provisioner wrote").WithCause(err)
				}
			}
			options.Instance, options.Spec = flags.Instance, flags.Spec
			options.Logger = flags.Logger(os.Stderr, cmd.Name(), options.Provider)
			options.Keyspaces = open.Expand(options.Keyspaces, os.Getenv)
			instance, err := ingest.New(options)
			if err != nil {
				return err
			}
			return flags.Run(cmd.Context(), instance, instance.Done(), instance.Err)
		},
	}
	flags.Add(cmd.Flags())
	cmd.Flags().StringVar(&options.Provider, "provider", "", "the provider's name")
	cmd.Flags().StringVar(&options.Keyspaces, "keyspaces", "", "URL of the keyspaces, such as sqlite:var/keyspaces")
	cmd.Flags().StringVar(&options.Host, "host", "127.0.0.1", "host whose port gateways send to")
	cmd.Flags().IntVar(&options.PortBase, "port-base", 6000, "the port is this and the provider's slot; 0: any port")
	cmd.Flags().StringVar(&secret, "pipeline-secret", "", "file with the secret that opens what is sealed for this ingest: pre-shared keys, passwords of brokers")
	os.Exit(service.Main(cmd))
}
