package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/internal/api"
	"berth/internal/export"
	"berth/provisioner/control"
	"berth/schema"
)

// exportFlags are what an export is asked for with.
type exportFlags struct {
	from, to, format, out string
	gateways, sensors     []string
	groups, tags          []string
	resume                bool
}

// export writes a provider's readings into a file.
func (a *app) export() *cobra.Command {
	var f exportFlags
	cmd := &cobra.Command{
		Use: "export <provider>", Short: "Write a provider's readings into a file: CSV, JSON lines, XLSX or Parquet", Args: args(1), ValidArgsFunction: a.names,
		Long: "Readings are written in order of gateway, time and sensor. What is not whole yet is called like the file with .part after it;\n" +
			"an export that was interrupted goes on after the last reading it has with --resume.",
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			return a.runExport(cmd.Context(), c, args[0], f)
		}),
	}
	set := cmd.Flags()
	set.StringVar(&f.from, "from", "now-24h", "begin: RFC 3339, a day such as 2026-01-31 (UTC), epoch milliseconds, or now-6h")
	set.StringVar(&f.to, "to", "now", "end, which is no longer part of it")
	set.StringVar(&f.format, "format", "", "csv, jsonl, xlsx or parquet; by default what the file's name ends in, else csv")
	set.StringVar(&f.out, "out", "", "the file; - writes to standard output; by default named by provider and range")
	set.StringArrayVar(&f.gateways, "gateway", nil, "only this gateway (may be repeated)")
	set.StringArrayVar(&f.groups, "group", nil, "only gateways in this group (may be repeated)")
	set.StringArrayVar(&f.tags, "tag", nil, "only gateways with this tag, a name or name=value (may be repeated)")
	set.StringArrayVar(&f.sensors, "sensor", nil, "only this sensor (may be repeated)")
	set.BoolVar(&f.resume, "resume", false, "go on with the file that was interrupted, for what it was asked for then")
	return cmd
}

func (a *app) runExport(ctx context.Context, c *control.Client, provider string, f exportFlags) error {
	if f.resume {
		if f.out == "" || f.out == "-" {
			return schema.Errorf(schema.Invalid, "which export to go on with is not said").WithNext("give its file: --out FILE --resume")
		}
		p, err := resumePart(f.out)
		if err != nil {
			return err
		}
		if p.Provider != provider {
			p.close()
			return schema.Errorf(schema.Invalid, "%s is of provider %s", f.out, p.Provider)
		}
		return a.fill(ctx, c, p)
	}
	r, err := f.request(provider, time.Now())
	if err != nil {
		return err
	}
	if f.out == "-" {
		query := r.query()
		query.Set("format", r.Format)
		_, err := a.copyExport(ctx, c, provider, query, a.Out)
		return err
	}
	if f.out == "" {
		f.out = fmt.Sprintf("%s-%s-%s.%s", provider, r.From.UTC().Format("20060102T150405Z"), r.To.UTC().Format("20060102T150405Z"), r.Format)
	}
	p, err := newPart(f.out, r)
	if err != nil {
		return err
	}
	return a.fill(ctx, c, p)
}

// request returns what is asked for, with times that stay what they are.
func (f exportFlags) request(provider string, now time.Time) (exportRequest, error) {
	r := exportRequest{Version: 1, Provider: provider, Format: f.format, Gateways: f.gateways, Groups: f.groups, Tags: f.tags, Sensors: f.sensors}
	if r.Format == "" {
		r.Format = "csv"
		if dot := strings.LastIndexByte(f.out, '.'); dot >= 0 {
			if _, err := export.Find(f.out[dot+1:]); err == nil {
				r.Format = f.out[dot+1:]
			}
		}
	}
	if _, err := export.Find(r.Format); err != nil {
		return r, err
	}
	for _, t := range []struct {
		text string
		into *time.Time
	}{{f.from, &r.From}, {f.to, &r.To}} {
		at, err := time.Parse(time.DateOnly, t.text)
		if err != nil {
			if at, err = api.ParseTime(t.text, now); err != nil {
				return r, err
			}
		}
		*t.into = at
	}
	return r, nil
}

// fill asks for what the part lacks, and makes the file of it when it is whole.
func (a *app) fill(ctx context.Context, c *control.Client, p *part) error {
	defer p.close()
	query := p.query()
	query.Set("format", p.wire().Name)
	if p.last != nil {
		query.Set("after", p.last.String())
	}
	end, err := a.copyExport(ctx, c, p.Provider, query, p.file)
	if err != nil {
		if p.dropEmpty() {
			return err
		}
		return schema.Errorf(schema.CodeOf(err), "the export broke off: %s", schema.Show(err)).
			WithNext("go on with it: %s export %s --out %s --resume", a.Invoked, p.Provider, p.path).WithCause(err)
	}
	if err := p.finish(end); err != nil {
		return err
	}
	say(a.Err, "%s is written\n", p.path)
	return nil
}

// exportEnd is what an export says of itself at its end.
type exportEnd struct {
	zone             *time.Location // of the provider
	readings         string         // of this answer
	complete         bool
	upTo, incomplete string // when it is not complete
}

// info returns it as files say it.
func (e exportEnd) info() map[string]string {
	info := map[string]string{"complete": strconv.FormatBool(e.complete)}
	if e.upTo != "" {
		info["complete up to"] = e.upTo
	}
	if e.incomplete != "" {
		info["incomplete because"] = e.incomplete
	}
	return info
}

// copyExport writes an export as it comes, and tells how far it is and what it says of itself at its end.
func (a *app) copyExport(ctx context.Context, c *control.Client, provider string, query url.Values, to io.Writer) (end exportEnd, err error) {
	answer, err := c.Export(ctx, provider, query)
	if err != nil {
		return end, err
	}
	defer answer.Body.Close() //nolint:errcheck // only read
	stop := a.follow(ctx, c, provider, answer.Header.Get("Berth-Export"))
	_, err = io.Copy(to, answer.Body)
	stop()
	if err != nil {
		if ctx.Err() != nil {
			return end, context.Cause(ctx)
		}
		return end, schema.Errorf(schema.Unavailable, "the answer ended before its end").WithCause(err)
	}
	if end.zone, err = time.LoadLocation(answer.Header.Get("Berth-Timezone")); err != nil {
		end.zone = time.UTC
	}
	said := answer.Trailer
	end.readings, end.complete = said.Get("Berth-Readings"), said.Get("Berth-Complete") == "true"
	end.upTo, end.incomplete = said.Get("Berth-Complete-Up-To"), said.Get("Berth-Incomplete-Reason")
	say(a.Err, "%s readings of %s gateways\n", end.readings, answer.Header.Get("Berth-Gateways"))
	if !end.complete {
		upTo := ""
		if end.upTo != "" {
			upTo = " (complete up to " + end.upTo + ")"
		}
		say(a.Err, "not complete%s: %s\n", upTo, end.incomplete)
	}
	return end, nil
}

// followEvery is how often an export that is under way says how far it is.
const followEvery = 2 * time.Second

// follow tells how far an export is until it is stopped.
func (a *app) follow(ctx context.Context, c *control.Client, provider, id string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(followEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			var all api.Exports
			if err := c.Reports(ctx, http.MethodGet, provider, "exports", &all); err != nil {
				continue
			}
			for _, x := range all.Exports {
				if x.ID == id && x.Ended == nil {
					say(a.Err, "%d of %d gateways, %d readings, %.1f MB\n", x.Done, x.Gateways, x.Readings, float64(x.Bytes)/1e6)
				}
			}
		}
	}()
	return func() { cancel(); <-done }
}
