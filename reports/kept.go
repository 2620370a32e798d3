package reports

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"berth/internal/api"
	"berth/internal/bus"
	"berth/internal/headapi"
	"berth/internal/httpserver"
	"berth/schema"
	"berth/schema/record"
)

// What a list of what is kept may ask for, and how many bytes of it are read for one answer.
const (
	defaultKept = 50
	mostKept    = 1000
	mostRead    = 16 << 20
	shownRaw    = 4 << 10 // of each reject in a list
)

// shelf is where something is kept: the rejects, or what was set aside.
type shelf struct {
	name  string
	aside bool
}

func (s shelf) bus() bus.Shelf {
	if s.aside {
		return bus.Aside
	}
	return bus.Rejects
}

// list answers with the newest of what is kept.
func (r *Reports) list(of shelf) httpserver.Handler {
	return func(w http.ResponseWriter, req *http.Request) error {
		limit, err := number(req, "limit")
		if err != nil {
			return err
		}
		if limit == 0 {
			limit = defaultKept
		}
		if limit > mostKept {
			return schema.Errorf(schema.Invalid, "%d %s are more than %d", limit, of.name, mostKept)
		}
		before, err := number(req, "before")
		if err != nil {
			return err
		}
		kept, total, err := r.bus.List(req.Context(), of.bus(), uint64(before), limit, mostRead)
		if err != nil {
			return err
		}
		var next uint64
		if n := len(kept); n > 0 && kept[n-1].ID > 1 && uint64(n) < total {
			next = kept[n-1].ID
		}
		if of.aside {
			return r.listAside(w, req, kept, total, next)
		}
		answer := api.Rejects{Rejects: make([]api.Reject, 0, len(kept)), Kept: total, Next: next}
		for _, k := range kept {
			reject, err := api.RejectOf(k.ID, k.About, k.Raw)
			if err != nil {
				r.options.Logger.Error("a kept reject cannot be read", "id", k.ID, "error", err)
				continue
			}
			reject.Raw = reject.Raw[:min(len(reject.Raw), shownRaw)]
			answer.Rejects = append(answer.Rejects, *reject)
		}
		return writeJSON(w, &answer)
	}
}

func (r *Reports) listAside(w http.ResponseWriter, req *http.Request, kept []bus.Kept, total, next uint64) error {
	state, err := r.bus.ShelfState(req.Context(), bus.Aside)
	if err != nil {
		return err
	}
	answer := api.Asides{Aside: make([]api.Aside, 0, len(kept)), Kept: total, Bytes: state.Bytes, Quota: state.Quota, Next: next}
	for i := range kept {
		a, err := asideOf(&kept[i])
		if err != nil {
			r.options.Logger.Error("what was set aside cannot be read", "id", kept[i].ID, "error", err)
			continue
		}
		answer.Aside = append(answer.Aside, *a)
	}
	return writeJSON(w, &answer)
}

func asideOf(k *bus.Kept) (*api.Aside, error) {
	a := &api.Aside{ID: k.ID, Kept: len(k.Raw)}
	if err := json.Unmarshal(k.About, &a.Aside); err != nil || a.Version > record.Version {
		return nil, schema.Errorf(schema.Invalid, "what is known of it cannot be read").WithCause(err)
	}
	return a, nil
}

// get returns the entry that a request is about.
func (r *Reports) get(req *http.Request, of shelf) (bus.Kept, error) {
	id, err := idOf(req)
	if err != nil {
		return bus.Kept{}, err
	}
	k, err := r.bus.Get(req.Context(), of.bus(), id)
	if schema.Is(err, schema.NotFound) {
		err = schema.Errorf(schema.NotFound, "nothing is kept under %d: it was fed or removed, or made room for newer ones", id).
			WithNext("see what is: provisioner rejects ls, or aside ls").WithCause(err)
	}
	return k, err
}

func idOf(req *http.Request) (uint64, error) {
	id, err := strconv.ParseUint(req.PathValue("id"), 10, 63)
	if err != nil || id == 0 {
		return 0, schema.Errorf(schema.Invalid, "%q is no number of something that is kept", req.PathValue("id"))
	}
	return id, nil
}

// one answers with what is known of one entry.
func (r *Reports) one(of shelf) httpserver.Handler {
	return func(w http.ResponseWriter, req *http.Request) error {
		k, err := r.get(req, of)
		if err != nil {
			return err
		}
		if of.aside {
			a, err := asideOf(&k)
			if err != nil {
				return err
			}
			return writeJSON(w, a)
		}
		reject, err := api.RejectOf(k.ID, k.About, k.Raw)
		if err != nil {
			return err
		}
		reject.Raw = reject.Raw[:min(len(reject.Raw), shownRaw)]
		return writeJSON(w, reject)
	}
}

// types are the content types of formats.
var types = map[string]string{
	"line": "text/plain; charset=utf-8", "json": "application/json",
	"senml+json": "application/senml+json", "senml+cbor": "application/senml+cbor",
}

// endings are the endings of files of those formats that do not end in their names.
var endings = map[string]string{"line": "txt", "senml+json": "senml", "senml+cbor": "senmlc"}

// raw answers with an entry's bytes, to be saved and not shown: they are whatever somebody sent.
func (r *Reports) raw(of shelf) httpserver.Handler {
	return func(w http.ResponseWriter, req *http.Request) error {
		k, err := r.get(req, of)
		if err != nil {
			return err
		}
		data, kind, ending := k.Raw, "application/octet-stream", "bin"
		if !of.aside {
			reject, err := api.RejectOf(k.ID, k.About, k.Raw)
			if err != nil {
				return err
			}
			data = reject.Raw
			if known := types[reject.Format]; known != "" {
				kind, ending = known, endings[reject.Format]
				if ending == "" {
					ending = reject.Format
				}
			}
		}
		h := w.Header()
		h.Set("Content-Type", kind)
		h.Set("Content-Length", strconv.Itoa(len(data)))
		h.Set("Content-Disposition", fmt.Sprintf(`attachment; filename="%s-%s-%d.%s"`, r.options.Provider, of.name, k.ID, ending))
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		_, err = w.Write(data)
		return err
	}
}

// feed asks ingest to take an entry in again, or to remove it.
func (r *Reports) feed(of shelf, remove bool) httpserver.Handler {
	return func(w http.ResponseWriter, req *http.Request) error {
		id, err := idOf(req)
		if err != nil {
			return err
		}
		if _, err := r.get(req, of); err != nil {
			return err
		}
		request, err := json.Marshal(headapi.FeedRequest{Aside: of.aside, ID: id, Remove: remove})
		if err != nil {
			return err
		}
		var fed api.Fed
		if err := r.bus.Ask(req.Context(), headapi.Feed, request, func(data []byte) error {
			return json.Unmarshal(data, &fed)
		}); err != nil {
			return err
		}
		return writeJSON(w, &fed)
	}
}
