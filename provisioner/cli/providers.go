package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/provisioner/control"
	"berth/schema"
	"berth/schema/record"
)

// added is the answer of add.
type added struct {
	control.Added
	FirstReadings firstReadings `json:"first_readings"`
}

// firstReadings are lines to paste into a shell.
type firstReadings struct {
	CA   string `json:"ca,omitempty"` // what makes the file that the others trust; empty: connections may be plain
	NC   string `json:"nc"`           // openssl in its place where TLS is required
	Curl string `json:"curl"`
	MQTT string `json:"mqtt"`
	CoAP string `json:"coap,omitempty"` // empty: plain CoAP is refused
}

// newFirstReadings returns lines that send a first reading of gateway gw1. With -w every netcat (OpenBSD's, the
// traditional one, BusyBox's, Nmap's) ends by itself once the answers are there.
func (a *app) newFirstReadings(p *control.Added) firstReadings {
	const payload = "boiler temperature=21.5"
	host, at := p.Host, net.JoinHostPort(p.Host, strconv.Itoa(p.Port))
	frame := fmt.Sprintf(`printf 'HELLO gw1 %s\nPUT 1 line %d\n%s'`, p.EnrolmentKey, len(payload), payload)
	post := fmt.Sprintf(`-i -H 'Authorization: Bearer %s' --data-binary 'boiler,gateway=gw1 temperature=21.5'`, p.EnrolmentKey)
	pub := fmt.Sprintf(`-h %s -p %d -u gw1 -P %s -q 1 -t readings/gw1/boiler.temperature -m 21.5`, host, p.Port, p.EnrolmentKey)
	if p.Settings.RequireTLS {
		return firstReadings{
			CA:   cmp.Or(a.Invoked, "provisioner") + " ca" + a.dataFlag() + " > ca.pem",
			NC:   fmt.Sprintf(`(%s; sleep 2) | openssl s_client -quiet -no_ign_eof -CAfile ca.pem -connect %s`, frame, at),
			Curl: fmt.Sprintf(`curl --cacert ca.pem %s https://%s/api/v2/write`, post, at),
			MQTT: "mosquitto_pub --cafile ca.pem " + pub,
		}
	}
	return firstReadings{
		NC:   fmt.Sprintf(`%s | nc -w 2 %s %d`, frame, host, p.Port),
		Curl: fmt.Sprintf(`curl %s http://%s/api/v2/write`, post, at),
		MQTT: "mosquitto_pub " + pub,
		CoAP: fmt.Sprintf(`coap-client-openssl -m post -e '%s' 'coap://%s/readings/gw1?key=%s'`, payload, at, p.EnrolmentKey),
	}
}

// waiting adds the flag that bounds a wait.
func waiting(cmd *cobra.Command, limit *time.Duration, what string) {
	cmd.Flags().DurationVar(limit, "wait", time.Minute, "how long to wait "+what+"; 0: not at all")
}

func (a *app) add() *cobra.Command {
	var limit time.Duration
	var placement string
	cmd := &cobra.Command{
		Use: "add <provider>", Short: "Add a provider: port, keyspace, log, key and pipeline", Args: args(1),
		Long: "Add a provider and wait until its pipeline is ready. Adding it again says \"unchanged\" and shows the same,\n" +
			"with a fresh sign-in link. One that was removed with its data kept comes back with its data, keys and settings.",
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			answer, err := c.AddPlaced(cmd.Context(), args[0], record.Placement(strings.TrimPrefix(placement, "own")))
			if err != nil {
				return err
			}
			for _, skipped := range answer.Skipped {
				say(a.Err, "skipped: %s\n", skipped)
			}
			for _, note := range answer.Notes {
				say(a.Err, "note: %s\n", note)
			}
			if limit > 0 {
				if answer.Provider, err = a.waitReady(cmd.Context(), c, args[0], limit); err != nil {
					return err
				}
			}
			out := added{answer, a.newFirstReadings(&answer)}
			return a.print(out, func(w io.Writer) { printAdded(w, out) })
		}),
	}
	waiting(cmd, &limit, "until the pipeline is ready")
	cmd.Flags().StringVar(&placement, "placement", "own", "own: a keyspace of its own; shared: in one with others, for hundreds of providers in Cassandra")
	return cmd
}

func printAdded(w io.Writer, p added) {
	switch {
	case !p.Changed:
		say(w, "%s is unchanged, and %s.\n", p.Name, p.State)
	case p.Restored:
		say(w, "%s is back with its data, and %s.\n", p.Name, p.State)
	default:
		say(w, "%s is added, and %s.\n", p.Name, p.State)
	}
	say(w, "  slot\t%d\n  port\t%d\n  keyspace\t%s\n  enrolment key\t%s\n  sign in\t%s   (once, within 24 hours)\n",
		p.Slot, p.Port, p.Keyspace, p.EnrolmentKey, p.AdminURL)
	if p.FirstReadings.CA != "" {
		say(w, "\nConnections are taken by TLS alone. Whom to trust:\n  %s\n", p.FirstReadings.CA)
	}
	say(w, "\nSend a first reading:\n  %s\nor\n  %s\nor\n  %s\n", p.FirstReadings.NC, p.FirstReadings.Curl, p.FirstReadings.MQTT)
	if p.FirstReadings.CoAP != "" {
		say(w, "or\n  %s\n", p.FirstReadings.CoAP)
	}
}

func (a *app) remove() *cobra.Command {
	var (
		yes, purge bool
		limit      time.Duration
	)
	cmd := &cobra.Command{
		Use: "rm <provider>", Aliases: []string{"remove"}, Short: "Remove a provider; its data stay unless they are purged",
		Args: args(1), ValidArgsFunction: a.names,
		Long: "Stop a provider's pipeline and free its port, which is given to nobody else for ten minutes. Its readings, log,\n" +
			"keys and settings stay, and add brings all back. With --purge-data they are gone for good, with its people, tokens and\n" +
			"reports and what its instances wrote, and add makes a new provider of that name, with another port. What it used\n" +
			"stays (provisioner usage).",
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			if _, err := c.Provider(cmd.Context(), args[0]); err != nil {
				return err
			}
			if !yes {
				if err := a.confirm(args[0], purge); err != nil {
					return err
				}
			}
			answer, err := c.Remove(cmd.Context(), args[0], purge)
			if err != nil {
				return err
			}
			if limit > 0 {
				if err := waitRemoved(cmd.Context(), c, args[0], limit); err != nil {
					return err
				}
			}
			return a.print(answer, func(w io.Writer) {
				switch {
				case !answer.Changed:
					say(w, "%s is unchanged: it was removed before.\n", answer.Name)
				case answer.Purge:
					say(w, "%s is removed, and its data are gone.\n", answer.Name)
				default:
					say(w, "%s is removed; its data are kept: provisioner add %s brings it back.\n", answer.Name, answer.Name)
				}
			})
		}),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask for the name")
	cmd.Flags().BoolVar(&purge, "purge-data", false, "remove its readings, log, keys and settings too, for good")
	waiting(cmd, &limit, "until it is removed")
	return cmd
}

// confirm asks for the provider's name.
func (a *app) confirm(name string, purge bool) error {
	loss := "Its data are kept."
	if purge {
		loss = "All its readings, keys and settings will be gone for good."
	}
	say(a.Err, "This stops %s and frees its port. %s\nType its name to go on: ", name, loss)
	line, err := bufio.NewReader(a.In).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the name: %w", err)
	}
	if strings.TrimSpace(line) != name {
		sayln(a.Err)
		return schema.Errorf(schema.Invalid, "%s was not removed: its name was not typed", name).WithNext("type it, or give --yes")
	}
	return nil
}

func waitRemoved(ctx context.Context, c *control.Client, name string, limit time.Duration) error {
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		p, err := c.Provider(within, name)
		switch {
		case schema.Is(err, schema.NotFound):
			return nil
		case err == nil && (p.State == control.Removed || p.State == control.Resting):
			return nil
		case err != nil && within.Err() == nil:
			return err
		}
		select {
		case <-tick.C:
		case <-within.Done():
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return schema.Errorf(schema.Unavailable, "%s is not removed after %v: %s", name, limit, p.Detail).
				WithNext("it goes on by itself; see provisioner plan")
		}
	}
}

func (a *app) set() *cobra.Command {
	var (
		tag, retention, future, timezone string
		attributes, networks             []string
		requireTLS, approve              bool
		dropLog                          uint64
		clientCA                         string
	)
	cmd := &cobra.Command{
		Use: "set <provider>", Short: "Change a provider's settings; they are live within a second", Args: args(1), ValidArgsFunction: a.names,
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			var change control.SettingsChange
			given := cmd.Flags().Changed
			if given("gateway-tag") {
				change.GatewayTag = &tag
			}
			if given("attribute-tags") {
				change.AttributeTags = &attributes
			}
			if given("retention") {
				change.Retention = &retention
			}
			if given("future") {
				change.Future = &future
			}
			if given("timezone") {
				change.Timezone = &timezone
			}
			if given("require-tls") {
				change.RequireTLS = &requireTLS
			}
			if given("approve-gateways") {
				change.Approve = &approve
			}
			if given("client-ca") {
				text, err := readClientCA(clientCA)
				if err != nil {
					return err
				}
				change.ClientCA = &text
			}
			if given("allow-network") {
				change.Networks = &networks
			}
			if given("drop-log") {
				change.DropLog = &dropLog
			}
			var err error
			if change.Limits, err = limitsGiven(cmd.Flags()); err != nil {
				return err
			}
			answer, err := c.Set(cmd.Context(), args[0], change)
			if err != nil {
				return err
			}
			err = a.print(answer, func(w io.Writer) {
				if answer.Changed {
					say(w, "%s is changed.\n", answer.Name)
				} else {
					say(w, "%s is unchanged.\n", answer.Name)
				}
				printSettings(w, answer.Settings)
			})
			return errors.Join(err, a.became(&answer.Taken, answer.Changed, args[0]))
		}),
	}
	f := cmd.Flags()
	f.StringVar(&tag, "gateway-tag", "", "the tag that names the gateway; empty: gateway, else host")
	f.StringSliceVar(&attributes, "attribute-tags", nil, "tags that are kept with the gateway, such as site,model")
	f.StringVar(&retention, "retention", "", "how long readings are kept, such as 400d")
	f.StringVar(&future, "future", "", "how far ahead of now a reading's time may lie, such as 24h")
	f.StringVar(&timezone, "timezone", "", "IANA name, such as Europe/Berlin")
	f.BoolVar(&requireTLS, "require-tls", false, "refuse gateways that connect without TLS; --require-tls=false takes them again")
	f.BoolVar(&approve, "approve-gateways", false, "a new gateway that shows the enrolment key waits until it is approved: gateway approve")
	f.StringVar(&clientCA, "client-ca", "", "a file of PEM with authorities of the provider's own, whose certificates name gateways; empty: none")
	f.StringSliceVar(&networks, "allow-network", nil, "networks such as 10.1.0.0/16 whose senders need no key for bare line protocol; empty: none")
	f.Uint64Var(&dropLog, "drop-log", 0, "give up what a log holds that ends at this message, before what the keyspace has; running totals begin anew, and usage keeps what was counted of the log until it was last looked at")
	addLimits(f)
	return cmd
}
