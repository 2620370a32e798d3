package api

import (
	"net/http"

	"berth/schema/record"
)

// Operation is one thing that the API can be asked, as its description says it.
type Operation struct {
	Method  string
	Path    string // behind /api/v1/providers/:provider, or /api/v1 for the house's; parameters begin with a colon
	Summary string
	Query   []string // names of Parameters
	Body    any      // of what type the request's JSON is; nil: it has no body
	Answer  any      // of what type the answer's JSON is; nil: it is no JSON
	Type    string   // of an answer that is no JSON
	Own     bool     // web answers it itself, not the provider's reports
	House   bool     // it is about the installation
}

// Parameter is a parameter in an operation's query.
type Parameter struct {
	Name, About string
	Number      bool
	Repeated    bool // it may be given more than once
}

// Parameters are all that an operation may have in its query.
var Parameters = []Parameter{
	{Name: "act", About: "What would be done: restart, stop, start or remove."},
	{Name: "add", About: "The name of a provider that would be added."},
	{Name: "after", About: "The name, or the cursor, after which the answer begins: what the answer before gave as next."},
	{Name: "before", About: "The entry before which the answer begins: what the answer before ended at.", Number: true},
	{Name: "by", About: "day or month."},
	{Name: "day", About: "true: with how each gateway was in each hour of the last day."},
	{Name: "follow", About: "false: only what was written until now."},
	{Name: "format", About: "The format of the answer."},
	{Name: "from", About: "Where the range begins: RFC 3339, epoch milliseconds, now, or such as now-6h."},
	{Name: "gateway", About: "A gateway; without one all are meant.", Repeated: true},
	{Name: "group", About: "Gateways in this group; of several, in one of them.", Repeated: true},
	{Name: "lang", About: "The language of a report: en or zh."},
	{Name: "limit", About: "How many entries the answer has at most.", Number: true},
	{Name: "lines", About: "How many lines of the past the answer has at most.", Number: true},
	{Name: "month", About: "That month alone, such as 2026-11."},
	{Name: "period", About: "The period of a report, such as yesterday or 2026-11."},
	{Name: "plan", About: "What a plan that was asked for before says of itself: it is done only if it still comes to that."},
	{Name: "points", About: "How many points a series has at most.", Number: true},
	{Name: "provider", About: "That provider alone."},
	{Name: "q", About: "A part of the names that are wanted."},
	{Name: "role", About: "Whose log: ingest, reports or web."},
	{Name: "sensor", About: "A sensor; without one all are meant.", Repeated: true},
	{Name: "sort", About: "What a list of gateways is sorted by: name, state (those first that need somebody), last_seen, rate or rejects; -rate and so on is the other way round."},
	{Name: "state", About: "Gateways in this state: online, late, offline or never."},
	{Name: "tag", About: "Gateways that have this tag, a name or name=value; of several, all of them.", Repeated: true},
	{Name: "to", About: "Where the range ends, which is no part of it; of a letter the address that it goes to."},
	{Name: "value", About: "Of a series, besides times: min, max, mean or count; without one all are meant.", Repeated: true},
}

// Operations is the table of all that the API can be asked.
func Operations() []Operation {
	const get, post = http.MethodGet, http.MethodPost
	all := []Operation{
		{Method: get, Path: "/latest", Summary: "Newest readings of all gateways", Query: []string{"sensor", "after", "limit"}, Answer: FleetLatest{}},
		{Method: get, Path: "/series", Summary: "Series of all gateways", Query: []string{"sensor", "from", "to", "points", "value", "after", "limit"}, Answer: FleetSeries{}},
		{Method: get, Path: "/gateways", Summary: "Gateways, a page of them as json or all as csv", Query: []string{"sort", "after", "limit", "q", "state", "group", "tag", "day", "format"}, Answer: Gateways{}},
		{Method: get, Path: "/gateways/:gateway", Summary: "A gateway", Answer: Gateway{}},
		{Method: get, Path: "/gateways/:gateway/sensors", Summary: "Sensors of a gateway", Answer: Sensors{}},
		{Method: get, Path: "/gateways/:gateway/latest", Summary: "Newest readings of a gateway", Answer: Latest{}},
		{Method: get, Path: "/gateways/:gateway/series", Summary: "Series of a gateway, at most two points a pixel", Query: []string{"sensor", "from", "to", "points", "value"}, Answer: SeriesAnswer{}},
		{Method: get, Path: "/gateways/:gateway/readings", Summary: "Every reading of a gateway in a range, streamed as json, columns or csv", Query: []string{"sensor", "from", "to", "format"}, Type: "*/*"},
		{Method: get, Path: "/gateways/:gateway/live", Summary: "What comes for a gateway, once a second, as server-sent events", Query: []string{"sensor"}, Type: "text/event-stream"},
		{Method: get, Path: "/gateways/:gateway/annotations", Summary: "What people have noted on a gateway's charts", Query: []string{"from", "to"}, Answer: Annotations{}},
		{Method: post, Path: "/gateways/:gateway/annotations", Summary: "Note something on a gateway's charts; who and when it was noted is not asked", Body: Annotation{}, Answer: Annotation{}, Own: true},
		{Method: http.MethodDelete, Path: "/gateways/:gateway/annotations/:id", Summary: "Remove what was noted", Answer: Done{}},
		{Method: get, Path: "/groups", Summary: "Groups and tags of gateways", Answer: Groups{}},
		{Method: get, Path: "/groupings", Summary: "In which groups gateways are and how they are tagged", Query: []string{"gateway", "format"}, Answer: Groupings{}, Own: true},
		{Method: post, Path: "/groupings", Summary: "Group and tag gateways, by JSON or CSV", Body: Groupings{}, Answer: Groupings{}, Own: true},
		{Method: get, Path: "/reports/preview", Summary: "A report over a period, or a file of it", Query: []string{"gateway", "group", "tag", "period", "from", "to", "format", "lang"}, Type: "*/*"},
		{Method: get, Path: "/books", Summary: "The books: what was received, and what became of it", Answer: Books{}},
		{Method: get, Path: "/export", Summary: "Readings of many gateways as a file: csv, jsonl, xlsx or parquet", Query: []string{"gateway", "group", "tag", "sensor", "from", "to", "format", "after"}, Type: "*/*"},
		{Method: get, Path: "/exports", Summary: "Exports under way, and the last that ended", Answer: Exports{}},

		{Method: http.MethodPut, Path: "/people/:person/role", Summary: "Give a person another role", Body: RoleRequest{}, Answer: Done{}, Own: true},
		{Method: get, Path: "/sensors", Summary: "How sensors are shown: names, units, decimals", Answer: map[string]any{}, Own: true},
		{Method: post, Path: "/sensors", Summary: "Change how sensors are shown", Body: map[string]any{}, Answer: map[string]any{}, Own: true},
		{Method: get, Path: "/senders", Summary: "Who may send: the enrolment key and the keys of gateways", Answer: map[string]any{}, Own: true},
		{Method: post, Path: "/senders", Summary: "Change who may send", Body: map[string]any{}, Answer: map[string]any{}, Own: true},
	}
	all = append(all, []Operation{
		{Method: get, Path: "/shares", Summary: "Reports that are shared by a link, without their links", Answer: Shares{}, Own: true},
		{Method: post, Path: "/shares", Summary: "Share a report by a link that expires; it is shown once", Body: ShareRequest{}, Answer: NewShare{}, Own: true},
		{Method: http.MethodDelete, Path: "/shares/:share", Summary: "End the sharing of a report", Answer: Done{}, Own: true},
	}...)
	all = append(append(append(all, operate()...), peopleOf(false)...), peopleOf(true)...)
	run, schedule := record.ScheduleRun{}, record.Schedule{}
	all = append(all, []Operation{
		{Method: get, Path: "/schedules", Summary: "Scheduled reports", Answer: map[string][]record.Schedule{}, Own: true},
		{Method: post, Path: "/schedules", Summary: "Add a scheduled report", Body: schedule, Answer: schedule, Own: true},
		{Method: http.MethodPut, Path: "/schedules/:id", Summary: "Put another in a scheduled report's place", Body: schedule, Answer: schedule, Own: true},
		{Method: http.MethodDelete, Path: "/schedules/:id", Summary: "Remove a scheduled report", Answer: schedule, Own: true},
		{Method: post, Path: "/schedules/:id/pause", Summary: "Pause a scheduled report", Answer: schedule, Own: true},
		{Method: post, Path: "/schedules/:id/resume", Summary: "Go on with a scheduled report", Answer: schedule, Own: true},
		{Method: post, Path: "/schedules/:id/test", Summary: "Send the report of the last period to one address", Query: []string{"to", "lang"}, Answer: run, Own: true},
		{Method: get, Path: "/schedules/:id/runs", Summary: "Runs of a scheduled report, with their names for paths", Answer: map[string][]record.ScheduleRun{}, Own: true},
		{Method: get, Path: "/schedules/:id/runs/:run/files/:file", Summary: "A file that a run made", Type: "*/*", Own: true},
		{Method: post, Path: "/schedules/:id/runs/:run/again", Summary: "Make a run's report anew and send it", Answer: run, Own: true},
	}...)
	for _, shelf := range []struct {
		name, what string
		list, one  any
	}{{"rejects", "was refused", Rejects{}, Reject{}}, {"aside", "was set aside", Asides{}, Aside{}}} {
		all = append(all,
			Operation{Method: get, Path: "/" + shelf.name, Summary: "What " + shelf.what + ", the newest first", Query: []string{"before", "limit"}, Answer: shelf.list},
			Operation{Method: get, Path: "/" + shelf.name + "/:id", Summary: "One entry of what " + shelf.what, Answer: shelf.one},
			Operation{Method: get, Path: "/" + shelf.name + "/:id/raw", Summary: "Its bytes as they came", Type: "*/*"},
			Operation{Method: post, Path: "/" + shelf.name + "/:id/feed", Summary: "Take it in again, by the settings of now", Answer: Fed{}},
			Operation{Method: http.MethodDelete, Path: "/" + shelf.name + "/:id", Summary: "Remove it", Answer: Fed{}})
	}
	return all
}
