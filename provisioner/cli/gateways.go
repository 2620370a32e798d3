package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"berth/internal/houseapi"
	"berth/provisioner/control"
	"berth/schema"
	"berth/schema/record"
)

func (a *app) gateway() *cobra.Command {
	cmd := &cobra.Command{Use: "gateway", Short: "Keys of single gateways, and approval of new ones", Args: group, RunE: help}
	add := a.gatewayAct("add", "Give a gateway a key of its own; it is shown once, and the enrolment key no longer serves it")
	rotate := a.gatewayAct("rotate", "Give a gateway a new key, shown once; the one before stays good for a day, or as --overlap says")
	cmd.AddCommand(add, a.gatewayList(), rotate,
		a.gatewayAct("approve", "Let a new gateway in that waits for approval: it goes on with the enrolment key"),
		a.gatewayAct("refuse", "Shut out a new gateway that waits for approval"),
		a.gatewayAct("revoke", "Shut a gateway out: neither its own key nor the enrolment key opens the port for it"))
	return cmd
}

func (a *app) gatewayList() *cobra.Command {
	return &cobra.Command{
		Use: "ls <provider>", Aliases: []string{"list"}, Args: args(1), ValidArgsFunction: a.names,
		Short: "List the gateways that have, or had, a key of their own, were approved, or wait for approval",
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			gateways, err := c.Gateways(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			enrolment, err := c.Enrolment(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(gateways, func(w io.Writer) {
				sayln(w, "GATEWAY\tSTATE\tRELAY\tPSK\tSINCE\tUSED\tSEEN IN CLEAR\tNOTE")
				for i := range gateways {
					g := &gateways[i]
					say(w, "%s\t%s\t%v\t%v\t%s\t%s\t%s\t%s\n", g.Gateway, g.State, g.Relay, g.PSK, since(g), at(g.Used), at(g.Clear), noteOf(g))
				}
				if enrolment.Clear != nil {
					say(w, "\nThe enrolment key was seen in clear, on a plain connection, first at %s and last on %s.\n",
						enrolment.Clear.Format(time.RFC3339), enrolment.LastSo.Format(time.DateOnly))
				}
			})
		}),
	}
}

// since returns when a gateway's state began.
func since(g *control.Gateway) string {
	switch {
	case g.Revoked != nil:
		return g.Revoked.Format(time.RFC3339)
	case g.Approved != nil && g.State == houseapi.GatewayApproved:
		return g.Approved.Format(time.RFC3339)
	default:
		return g.Created.Format(time.RFC3339)
	}
}

// at returns a time that may not have been.
func at(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Format(time.RFC3339)
}

// noteOf returns what else is to be said of a gateway.
func noteOf(g *control.Gateway) string {
	switch {
	case g.Previous != nil && g.Previous.UntilUsed:
		return "the key before is good until this one is used, at most until " + g.Previous.Until.Format(time.RFC3339)
	case g.Previous != nil:
		return "the key before is good until " + g.Previous.Until.Format(time.RFC3339)
	case g.Until != nil:
		return "the certificate " + g.Serial + " ends on " + g.Until.Format(time.DateOnly)
	case len(g.Serials) > 0:
		return fmt.Sprintf("%d certificates of the provider's own authority are revoked", len(g.Serials))
	case g.Last != nil:
		return "last from " + g.Address + " at " + g.Last.Format(time.RFC3339)
	default:
		return "-"
	}
}

// became tells what became of a change that is not live, if there was one, and returns an error when the provider's ingest refuses it.
func (a *app) became(t *control.Taken, changed bool, provider string) error {
	switch {
	case t.Refused:
		return schema.Errorf(schema.Conflict, "it is saved, but not live: %s", t.Why)
	case !t.Live && changed && a.output == "table":
		say(a.Err, "It is saved, and live once ingest answers (%s): provisioner show %s\n", t.Why, provider)
	}
	return nil
}

// gatewayAct returns the command that does an act to a gateway, with the flags that the act has.
func (a *app) gatewayAct(act, short string) *cobra.Command {
	var req control.GatewayRequest
	overlap, life := "", ""
	cmd := &cobra.Command{
		Use: act + " <provider> <gateway>", Short: short, Args: args(2), ValidArgsFunction: a.names,
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			req.Gateway = args[1]
			if cmd.Flags().Changed("overlap") {
				req.Overlap = &overlap
			}
			if cmd.Flags().Changed("valid") {
				req.Life = &life
			}
			k, err := c.Gateway(cmd.Context(), args[0], act, req)
			if err != nil {
				return err
			}
			err = a.print(k, func(w io.Writer) { printGateway(w, act, args[0], &k) })
			return errors.Join(err, a.became(&k.Taken, k.Changed, args[0]))
		}),
	}
	switch act {
	case "add":
		cmd.Flags().BoolVar(&req.Relay, "relay", false, "the key may speak for many gateways, as of a Telegraf or a broker")
		certificate(cmd, &req.Cert, &life)
		preShared(cmd, &req.PSK)
	case "revoke":
		cmd.Flags().StringVar(&req.Serial, "serial", "", "refuse this certificate alone, by the provider's own authority (set --client-ca), by its serial number in hex")
	case "rotate":
		certificate(cmd, &req.Cert, &life)
		preShared(cmd, &req.PSK)
		cmd.Flags().StringVar(&overlap, "overlap", "24h", "how long the key before stays good; 0: not at all")
		cmd.Flags().BoolVar(&req.UntilUsed, "until-used", false, "the key before ends as soon as the new one is used, if that is sooner")
	}
	return cmd
}

// certificate adds the flags of a certificate.
func certificate(cmd *cobra.Command, cert *bool, life *string) {
	cmd.Flags().BoolVar(cert, "cert", false, "a certificate in the place of a key: prints its private key, the certificate, and whom to trust of the port, as PEM")
	cmd.Flags().StringVar(life, "valid", "730d", "how long the certificate holds")
}

// preShared adds the flag of a pre-shared key.
func preShared(cmd *cobra.Command, psk *bool) {
	cmd.Flags().BoolVar(psk, "psk", false, "the key is also a pre-shared one, for CoAP within DTLS: the gateway's name is the identity. It is kept encrypted, not as a hash")
	cmd.MarkFlagsMutuallyExclusive("cert", "psk")
}

func printGateway(w io.Writer, act, provider string, k *control.GatewayKey) {
	name := k.Gateway.Gateway
	switch {
	case k.Key != "":
		sayln(w, k.Key)
	case k.Cert != "":
		say(w, "%s%s%s", k.Secret, k.Cert, k.CA)
	case k.Changed && act == "approve":
		say(w, "%s is approved: it goes on with the enrolment key.\n", name)
	case k.Changed && k.State != houseapi.GatewayRevoked:
		say(w, "The certificate of %s is revoked.\n", name)
	case k.Changed:
		say(w, "%s is revoked.\n", name)
	case act == "add":
		say(w, "%s is unchanged; its key cannot be shown again: provisioner gateway rotate %s %s\n", name, provider, name)
	default:
		say(w, "%s is unchanged.\n", name)
	}
}

// readClientCA reads a file of authorities; an empty path is none.
func readClientCA(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", schema.Errorf(schema.Invalid, "%s cannot be read", path).WithNext("give --client-ca a file of PEM").WithCause(err)
	}
	if _, err := record.Authorities(string(data)); err != nil {
		return "", err
	}
	return string(data), nil
}
