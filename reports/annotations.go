package reports

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"berth/internal/api"
	"berth/schema"
	"berth/schema/record"
)

// Annotations returns what people have noted on a gateway's charts in [from, to), in order of time.
func (r *Reports) Annotations(gateway string, from, to time.Time) []record.Annotation {
	var found []record.Annotation
	if all := r.annotations.get(record.AnnotationsKey(gateway)); all != nil {
		for i := range all.Annotations {
			if all.Annotations[i].Touches(from, to) {
				found = append(found, all.Annotations[i])
			}
		}
	}
	return found
}

// listAnnotations answers with a gateway's annotations, those that touch a range when one is given.
func (r *Reports) listAnnotations(w http.ResponseWriter, req *http.Request) error {
	name := req.PathValue("gateway")
	if _, err := r.engine.Gateway(req.Context(), name); err != nil {
		return err
	}
	from, to := time.Unix(0, 0), time.Unix(1<<34, 0)
	if values := req.URL.Query(); values.Has("from") || values.Has("to") {
		var err error
		if from, to, err = r.span(req); err != nil {
			return err
		}
	}
	answer := api.Annotations{Gateway: name, Annotations: []api.Annotation{}}
	for _, a := range r.Annotations(name, from, to) {
		answer.Annotations = append(answer.Annotations, r.annotationOf(&a))
	}
	return writeJSON(w, &answer)
}

// annotationOf returns an annotation as the API has it, in the provider's zone.
func (r *Reports) annotationOf(a *record.Annotation) api.Annotation {
	zone := r.maker.Zone()
	return api.Annotation{ID: a.ID, From: a.From.In(zone), To: a.To.In(zone), Text: a.Text, Who: a.Who, Made: a.Made.In(zone)}
}

// annotate keeps an annotation. One of the same ID is that which was kept already: the request came twice.
func (r *Reports) annotate(w http.ResponseWriter, req *http.Request) error {
	name := req.PathValue("gateway")
	var said api.Annotation
	if err := readSaid(req, &said); err != nil {
		return err
	}
	if _, err := r.engine.Gateway(req.Context(), name); err != nil {
		return err
	}
	a := record.Annotation{ID: said.ID, From: said.From.UTC(), To: said.To.UTC(), Text: said.Text, Who: said.Who, Made: time.Now().UTC().Truncate(time.Millisecond)}
	if err := a.Validate(); err != nil {
		return err
	}
	all := 0
	r.annotations.each(func(of *record.Annotations) { all += len(of.Annotations) })
	err := r.changeAnnotations(req.Context(), name, func(list []record.Annotation) ([]record.Annotation, error) {
		if i := slices.IndexFunc(list, func(o record.Annotation) bool { return o.ID == a.ID }); i >= 0 {
			a = list[i]
			return list, nil
		}
		if len(list) >= record.MostAnnotations || all >= record.MostAnnotationsAll {
			return nil, schema.Errorf(schema.Limited, "a gateway has at most %d annotations, and a provider %d", record.MostAnnotations, record.MostAnnotationsAll).
				WithNext("remove old ones")
		}
		list = append(list, a)
		slices.SortFunc(list, func(a, b record.Annotation) int { return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.ID, b.ID)) })
		return list, nil
	})
	if err != nil {
		return err
	}
	return writeJSON(w, r.annotationOf(&a))
}

// removeAnnotation removes an annotation.
func (r *Reports) removeAnnotation(w http.ResponseWriter, req *http.Request) error {
	id := req.PathValue("id")
	err := r.changeAnnotations(req.Context(), req.PathValue("gateway"), func(list []record.Annotation) ([]record.Annotation, error) {
		left := slices.DeleteFunc(slices.Clone(list), func(a record.Annotation) bool { return a.ID == id })
		if len(left) == len(list) {
			return nil, schema.Errorf(schema.NotFound, "the gateway has no annotation %q", id)
		}
		return left, nil
	})
	if err != nil {
		return err
	}
	return writeJSON(w, &api.Done{Done: true})
}

// changeAnnotations changes the record of a gateway's annotations.
func (r *Reports) changeAnnotations(ctx context.Context, gateway string, change func([]record.Annotation) ([]record.Annotation, error)) error {
	key := record.AnnotationsKey(gateway)
	var all *record.Annotations
	revision, err := r.sayRecord(ctx, key, func(before []byte) (any, error) {
		all = &record.Annotations{}
		if before != nil && (json.Unmarshal(before, all) != nil || all.Version > record.Version) {
			return nil, laterRelease("what was noted")
		}
		all.Version, all.Gateway = record.Version, gateway
		var err error
		all.Annotations, err = change(all.Annotations)
		return all, err
	})
	if err != nil {
		return err
	}
	r.annotations.put(key, revision, all)
	return nil
}
