package cli

import (
	"io"

	"github.com/spf13/cobra"

	"berth/provisioner/control"
	"berth/schema"
)

// authority is the answer of ca.
type authority struct {
	CA string `json:"ca"` // PEM
}

// ca prints whom clients of the ports are to trust.
func (a *app) ca() *cobra.Command {
	return &cobra.Command{
		Use: "ca", Short: "Print the certificate that gateways trust when they connect by TLS", Args: args(0),
		Long: "Print, as PEM, the certificate of this installation's authority: it signs what providers' ports show to gateways\n" +
			"that connect by TLS. It is no secret, and stays the same for the life of the data directory.",
		Example: "  provisioner ca > ca.pem\n" +
			"  curl --cacert ca.pem https://127.0.0.1:6001/ping",
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, _ []string) error {
			status, err := c.Status(cmd.Context())
			if err != nil {
				return err
			}
			if status.CA == "" {
				return schema.Errorf(schema.NotFound, "the ports' certificate was given by files, and not signed here").
					WithNext("have gateways trust whom it is signed by; see --tls-cert of provisioner serve")
			}
			return a.print(authority{status.CA}, func(w io.Writer) { say(w, "%s", status.CA) })
		}),
	}
}
