package reportview

import (
	"html"
	"strconv"
	"strings"

	"berth/internal/api"
)

// markup is HTML. Constants become markup by themselves, a text only by [text] or by a drawing's SVG.
type markup string

// text returns a text as markup, for elements and for attributes in double quotes.
func text(s string) markup { return markup(html.EscapeString(s)) }

// ordinal returns a number as a part of an id.
func ordinal(n int) markup { return markup(strconv.Itoa(n)) }

// page is the report as HTML that is being written. It is not written by html/template: a program with templates keeps all
// methods of everything in it, by which the reports of each provider would grow by a quarter.
type page struct {
	*View
	strings.Builder
}

// add writes markup.
func (p *page) add(all ...markup) {
	for _, m := range all {
		p.WriteString(string(m))
	}
}

// t returns a text of the catalogue.
func (p *page) t(key string, args ...any) markup { return text(p.T(key, args...)) }

// fact writes a line of a list of facts.
func (p *page) fact(key string, value markup) {
	p.add("  <div><dt>", p.t(key), "</dt><dd>", value, "</dd></div>\n")
}

// heads writes the line of names of a table that begins with a few columns of text.
func (p *page) heads(texts int, keys ...string) {
	p.add("<table class=\"report-table\">\n<thead><tr>")
	for i, key := range keys {
		class := markup(``)
		if i >= texts {
			class = ` class="number"`
		}
		p.add(`<th scope="col"`, class, `>`, p.t(key), `</th>`)
	}
	p.add("</tr></thead>\n<tbody>\n")
}

// cells ends a table's line with numbers.
func (p *page) cells(all ...markup) {
	for _, m := range all {
		p.add(`<td class="number">`, m, `</td>`)
	}
	p.add("</tr>\n")
}

const (
	beginScroll = `<div class="report-scroll" tabindex="0" role="region" aria-label="`
	endScroll   = "</tbody>\n</table>\n</div>\n"
	beginPage   = "<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
)

// whole writes a page of its own, which loads nothing.
func (p *page) whole() {
	r := p.Report
	p.add("<!doctype html>\n<html lang=\"", text(p.Language.Tag), "\">\n", beginPage)
	p.add("<title>", p.t("of", "provider", r.Provider), " · ", text(p.Span(r.From, r.To)), "</title>\n<style>", markup(style), "</style>\n</head>\n")
	p.add("<body>\n<main>\n<h1>", p.t("of", "provider", r.Provider), "</h1>\n")
	p.body()
	p.add("</main>\n</body>\n</html>\n")
}

// body writes the report as a part of a page.
func (p *page) body() {
	r := p.Report
	p.add("<dl class=\"report-facts\">\n")
	span := text(p.Span(r.From, r.To))
	if name := p.Name(); name != "" {
		span = text(name) + " · " + span
	}
	p.fact("period", span)
	if of := p.Of(); of != "" {
		p.fact("gateways", text(of))
	}
	p.fact("zone", text(r.Zone))
	if b := r.Before; b != nil {
		p.fact("before", text(p.Span(b.From, b.To)))
	}
	p.fact("made", text(p.Time(r.Made)))
	p.add("</dl>\n")
	p.summary()
	p.add("<section aria-labelledby=\"report-limits\">\n<h2 id=\"report-limits\">", p.t("limits"), "</h2>\n<ul>")
	limits := p.Limits()
	if len(limits) == 0 {
		limits = []string{p.T("limits.all")}
	}
	for _, l := range limits {
		p.add("<li>", text(l), "</li>")
	}
	p.add("</ul>\n</section>\n")
	for i := range r.Gateways {
		p.gateway(i, &r.Gateways[i])
	}
	p.add("<section aria-labelledby=\"report-methods\">\n<h2 id=\"report-methods\">", p.t("methods"), "</h2>\n<dl class=\"report-methods\">\n")
	for _, m := range p.Methods() {
		p.add("<div><dt>", text(m.Name), "</dt><dd>", text(m.Text), "</dd></div>\n")
	}
	p.add("</dl>\n</section>\n")
}

// summary writes the totals, and a line for each gateway where there are several.
func (p *page) summary() {
	r := p.Report
	p.add("<section aria-labelledby=\"report-summary\">\n<h2 id=\"report-summary\">", p.t("summary"), "</h2>\n<dl class=\"report-totals\">\n")
	p.fact("completeness", text(p.Share(r.Totals.Completeness)))
	p.fact("availability", text(p.Share(r.Totals.Availability)))
	p.fact("readings", text(p.Whole(r.Totals.Readings)))
	p.fact("expected", text(p.Count(r.Totals.Expected)))
	p.fact("late", text(p.Whole(r.Totals.Late)))
	p.fact("rejected", text(p.Whole(r.Totals.Rejected)))
	p.fact("gateways", text(p.Whole(uint64(r.Totals.Gateways))))
	p.fact("sensors", text(p.Whole(uint64(r.Totals.Sensors))))
	p.add("</dl>\n")
	if len(r.Gateways) > 1 {
		p.add(beginScroll, p.t("gateways"), "\">\n")
		p.heads(1, "gateway", "readings", "expected", "completeness", "availability", "gap.longest", "late", "rejected")
		for i := range r.Gateways {
			g := &r.Gateways[i]
			p.add(`<tr><th scope="row"><a href="#gateway-`, ordinal(i), `">`, text(g.Name), `</a></th>`)
			p.cells(text(p.Whole(g.Readings)), text(p.Count(g.Expected)), text(p.Share(g.Completeness)), text(p.Share(g.Availability)), text(p.Longest(*g)), text(p.Whole(g.Late)), text(p.Whole(g.Rejected)))
		}
		p.add(endScroll)
	}
	if len(r.Gateways) == 0 {
		p.add("<p>", p.t("none"), "</p>\n")
	}
	p.add("</section>\n")
}

// gateway writes what one gateway did.
func (p *page) gateway(i int, g *api.ReportGateway) {
	id := "gateway-" + ordinal(i)
	p.add(`<section class="report-gateway" aria-labelledby="`, id, "\">\n<h2 id=\"", id, `">`, p.t("gateway"), " ", text(g.Name), "</h2>\n<dl class=\"report-facts\">\n")
	p.fact("completeness", text(p.Share(g.Completeness)))
	p.fact("availability", text(p.Share(g.Availability)))
	p.fact("received", text(p.Whole(g.Readings)))
	p.fact("expected", text(p.Count(g.Expected)))
	p.fact("late", text(p.Whole(g.Late)))
	p.fact("rejected", text(p.Whole(g.Rejected)))
	p.fact("before.readings", text(p.Count(g.Before)))
	p.fact("first_seen", text(p.When(g.FirstSeen)))
	p.fact("last_seen", text(p.When(g.LastSeen)))
	p.fact("gap.limit", text(p.Duration(g.GapLimit)))
	p.add("</dl>\n")
	if g.Silent {
		p.add("<p>", p.t("limits.gateway"), "</p>\n")
	}
	p.gaps(g)
	p.noted(g.Annotations)
	if len(g.Sensors) == 0 {
		p.add("<p>", p.t("no_sensors"), "</p>\n</section>\n")
		return
	}
	p.sensors(g)
	p.add("</section>\n")
}

// gaps writes when nothing came.
func (p *page) gaps(g *api.ReportGateway) {
	switch {
	case g.Gaps > 0:
		p.add("<p>", p.t("gaps.all", "n", p.Whole(g.Gaps), "time", p.Duration(g.GapTime)), "</p>\n<ul>")
		for _, gap := range g.LongestGaps {
			p.add("<li>", p.t("gap", "from", p.Time(gap.From), "to", p.Time(gap.To), "time", p.Duration(gap.Seconds)), "</li>")
		}
		p.add("</ul>\n")
	case g.GapLimit > 0:
		p.add("<p>", p.t("gaps.none"), "</p>\n")
	}
}

// noted writes what people have noted, numbered as on the charts.
func (p *page) noted(all []api.Annotation) {
	if len(all) == 0 {
		return
	}
	p.add("<p>", p.t("annotations"), "</p>\n<ol>")
	for _, a := range all {
		p.add("<li>", text(p.Noted(a)), ": ", text(a.Text), " (", text(a.Who), ")</li>")
	}
	p.add("</ol>\n")
}

// sensors writes the numbers and charts of a gateway's sensors.
func (p *page) sensors(g *api.ReportGateway) {
	p.add(beginScroll, p.t("sensors"), ": ", text(g.Name), "\">\n")
	p.heads(2, "sensor", "unit", "received", "expected", "min", "mean", "p95", "max", "first", "last", "sum_increase", "change")
	for i := range g.Sensors {
		s := &g.Sensors[i]
		p.add(`<tr><th scope="row">`, text(p.Label(s)))
		if s.Label != "" {
			p.add("<small>", text(s.Sensor), "</small>")
		}
		p.add("</th><td>", text(s.Unit), "</td>")
		p.cells(text(p.Whole(s.Readings)), text(p.Count(s.Expected)), text(p.Number(s.Min, s.Decimals)), text(p.Mean(s.Mean, s.Decimals)), text(p.Number(s.P95, s.Decimals)),
			text(p.Number(s.Max, s.Decimals)), text(p.Value(s.First, s.Decimals)), text(p.Value(s.Last, s.Decimals)), text(p.SumOrIncrease(*s)), text(p.Change(s.Change)))
	}
	p.add(endScroll)
	for _, f := range p.Figures(g) {
		p.add(`<figure class="report-figure"><figcaption>`, text(f.Name), "</figcaption>", f.Drawing.svg(f.Name), "</figure>\n")
	}
}
