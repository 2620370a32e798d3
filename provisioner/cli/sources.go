package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/internal/headapi"
	"berth/provisioner/control"
	"berth/schema"
	"berth/schema/record"
)

func (a *app) source() *cobra.Command {
	cmd := &cobra.Command{Use: "source", Short: "Brokers of a provider's own, whose messages are taken", Args: group, RunE: help}
	list := &cobra.Command{
		Use: "ls <provider>", Aliases: []string{"list"}, Short: "List a provider's sources and how they do", Args: args(1), ValidArgsFunction: a.names,
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			sources, err := c.Sources(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(sources, func(w io.Writer) { printSources(w, sources) })
		}),
	}
	remove := &cobra.Command{
		Use: "rm <provider> <source>", Aliases: []string{"remove"}, Short: "Remove a source; its broker is told to forget its session", Args: args(2), ValidArgsFunction: a.names,
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			answer, err := c.RemoveSource(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			err = a.print(answer, func(w io.Writer) { say(w, "%s is removed.\n", args[1]) })
			return errors.Join(err, a.became(&answer.Taken, true, args[0]))
		}),
	}
	cmd.AddCommand(a.addSource(), list, remove)
	return cmd
}

// sourceFlags are what a source is made of beside its address.
type sourceFlags struct {
	control.SourceRequest
	topics       []string
	rule         record.TopicRule
	passwordFile string
	caFile       string
}

func (a *app) addSource() *cobra.Command {
	var f sourceFlags
	cmd := &cobra.Command{
		Use: "add <provider> mqtt <address>", Short: "Take what is published at a broker, or change how; it is live within a second", Args: args(3),
		ValidArgsFunction: a.names,
		Long: "Take what is published at a broker of the provider's own: its ingest connects, subscribes, and acknowledges a message when\n" +
			"it is on disk. Until then the broker keeps it, in the session of the source's client identifier; so what is published while\n" +
			"ingest is away comes later, if it was published at QoS 1 or 2 and the broker keeps that much.\n\n" +
			"A topic is a filter of MQTT, in which {gateway} may be a level that names the gateway and {sensor} one that names the sensor\n" +
			"of a bare value, at the end together with all that follow; --gateway and --format are for all topics that are given. Where\n" +
			"these say nothing, the provider's own topics do (provisioner topic), then those that every provider has (readings/<gateway>).\n" +
			"Retained messages are taken only if their readings have times.",
		Example: "  provisioner source add provider1 mqtt tcp://broker.example --topic 'plant/{gateway}/{sensor}'\n" +
			"  provisioner source add provider1 mqtt tls://broker.example --ca ca.pem --user berth --password-file secret --topic 'readings/#'",
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			f.Kind, f.URL = args[1], args[2]
			if err := f.read(a.In); err != nil {
				return err
			}
			answer, err := c.PutSource(cmd.Context(), args[0], &f.SourceRequest)
			if err != nil {
				return err
			}
			if answer.Live {
				answer.Source = settled(cmd.Context(), c, answer.Source)
			}
			err = a.print(answer, func(w io.Writer) { printSource(w, &answer) })
			return errors.Join(err, a.became(&answer.Taken, answer.Changed, args[0]))
		}),
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.topics, "topic", nil, "what to subscribe to; may be given several times")
	addRule(cmd, &f.rule)
	flags.StringVar(&f.Name, "name", "", "the source's name (default: the broker's host)")
	flags.StringVar(&f.User, "user", "", "as whom to connect")
	flags.StringVar(&f.passwordFile, "password-file", "", "file with the user's password; -: standard input")
	flags.StringVar(&f.caFile, "ca", "", "file with whom to trust of TLS (default: whom the machine trusts)")
	flags.StringVar(&f.ClientID, "client-id", "", "the client identifier, where the broker asks for a certain one (default: one is made)")
	return cmd
}

// settleLimit bounds how long it is waited for what comes of the first attempt to connect.
const settleLimit = 5 * time.Second

// settled waits until a source is connected, or it is known why it is not, and returns how it does.
func settled(ctx context.Context, c *control.Client, s control.Source) control.Source {
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for s.State == headapi.SourceConnecting {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return s
		}
		all, err := c.Sources(ctx, s.Provider)
		if err != nil {
			return s
		}
		for _, each := range all {
			if each.Name == s.Name {
				s = each
			}
		}
	}
	return s
}

func printSource(w io.Writer, s *control.SourceChanged) {
	done := "unchanged"
	if s.Changed {
		done = "set"
	}
	switch {
	case s.State == control.SourceUnknown:
		say(w, "%s is %s. How it does: provisioner source ls %s\n", s.Name, done, s.Provider)
	case s.Detail != "":
		say(w, "%s is %s, and %s: %s\n", s.Name, done, s.State, s.Detail)
	default:
		say(w, "%s is %s, and %s.\n", s.Name, done, s.State)
	}
}

// read reads the files that the flags name, and makes rules of the topics.
func (f *sourceFlags) read(in io.Reader) error {
	for _, topic := range f.topics {
		rule := f.rule
		rule.Pattern = topic
		f.Topics = append(f.Topics, rule)
	}
	if f.passwordFile != "" {
		password, err := readFile(f.passwordFile, in)
		if err != nil {
			return err
		}
		if f.Password = strings.TrimRight(password, "\r\n"); f.Password == "" {
			return schema.Errorf(schema.Invalid, "there is no password in %s", f.passwordFile)
		}
	}
	if f.caFile == "" {
		return nil
	}
	var err error
	f.CA, err = readFile(f.caFile, in)
	return err
}

// readFile reads a small file; -: standard input.
func readFile(path string, in io.Reader) (string, error) {
	const most = 64 << 10
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return "", schema.Errorf(schema.Invalid, "%v", err)
		}
		defer file.Close() //nolint:errcheck // only read
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, most+1))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	if len(text) > most {
		return "", schema.Errorf(schema.Invalid, "%s is longer than %d bytes", path, most)
	}
	return string(text), nil
}

func printSources(w io.Writer, sources []control.Source) {
	if len(sources) == 0 {
		sayln(w, "There is no source: readings come over the port alone.")
		return
	}
	sayln(w, "SOURCE\tBROKER\tTOPICS\tSTATE\tSINCE\tTAKEN\tREFUSED\tIN HAND\tDETAIL")
	for i := range sources {
		s := &sources[i]
		since := "-"
		if !s.Since.IsZero() {
			since = s.Since.Format(time.RFC3339)
		}
		var topics []string
		for _, t := range s.Topics {
			topics = append(topics, t.Pattern)
		}
		say(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\n", s.Name, s.URL, strings.Join(topics, ","), s.State, since, s.Taken, s.Refused, s.InHand, s.Detail)
	}
}
