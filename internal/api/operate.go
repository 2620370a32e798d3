package api

import (
	"net/http"

	"berth/internal/houseapi"
)

// AddRequest asks for a provider.
type AddRequest struct {
	Name string `json:"name"`
	Plan string `json:"plan,omitempty"` // as a plan that was asked for before says: only if it still comes to that
}

// operate is what an operator can ask.
func operate() []Operation {
	const get, post = http.MethodGet, http.MethodPost
	done := houseapi.Managed{}
	const lines = "as server-sent events, a line each, for format=text as people read it; after, or Last-Event-ID, is the line to go on behind"
	asked := []string{"role", "lines", "follow", "format", "after"}
	return []Operation{
		{Method: get, Path: "/survey", Summary: "How the installation is: every provider, and what is wrong and what to do", Answer: houseapi.Survey{}, Own: true, House: true},
		{Method: get, Path: "/logs", Summary: "What web writes, " + lines, Query: asked, Type: "text/event-stream", Own: true, House: true},
		{Method: get, Path: "/logs", Summary: "What an instance of a provider writes, ingest or reports, " + lines, Query: asked, Type: "text/event-stream", Own: true},
		{Method: get, Path: "/usage", Summary: "What providers used, by month or by day, as json or, for billing, csv", Query: []string{"provider", "month", "by", "format"}, Answer: map[string]any{}, Own: true, House: true},
		{Method: get, Path: "/plan", Summary: "What the provisioner does now, and why; or what adding a provider would come to", Query: []string{"add"}, Answer: done, Own: true, House: true},
		{Method: post, Path: "/providers", Summary: "Add a provider, or bring back one that was removed", Body: AddRequest{}, Answer: done, Own: true, House: true},
		{Method: get, Path: "/plan", Summary: "What the provisioner does now for a provider, and why; or what restart, stop, start or remove would come to", Query: []string{"act"}, Answer: done, Own: true},
		{Method: post, Path: "/restart", Summary: "Stop and start a provider's pipeline", Query: []string{"plan"}, Answer: done, Own: true},
		{Method: post, Path: "/stop", Summary: "Stop a provider's pipeline until it is started", Query: []string{"plan"}, Answer: done, Own: true},
		{Method: post, Path: "/start", Summary: "Start a provider's pipeline that was stopped", Query: []string{"plan"}, Answer: done, Own: true},
		{Method: http.MethodDelete, Path: "", Summary: "Remove a provider; its data are kept, and adding it again brings it back", Query: []string{"plan"}, Answer: done, Own: true},
	}
}
