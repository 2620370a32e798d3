package web

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"berth/internal/houseapi"
	"berth/internal/httpserver"
)

// surveyLimit bounds how long a page waits for the provisioner, which answers at once unless nobody has asked for a while.
const surveyLimit = 3 * time.Second

// askSurvey asks the provisioner how the installation is: one question, however many providers there are.
func (w *Web) askSurvey(ctx context.Context) (*houseapi.Survey, error) {
	ctx, cancel := context.WithTimeout(ctx, surveyLimit)
	defer cancel()
	var s houseapi.Survey
	err := w.conn.Ask(ctx, houseapi.SurveySubject, []byte("{}"), func(chunk []byte) error { return json.Unmarshal(chunk, &s) })
	if err != nil {
		return nil, err
	}
	return &s, nil
}

// surveyAPI answers an operator with the same.
func (w *Web) surveyAPI(rw http.ResponseWriter, r *http.Request) error {
	s, err := w.askSurvey(r.Context())
	if err != nil {
		return err
	}
	return httpserver.JSON(rw, http.StatusOK, s)
}

// figuresOf returns what a survey of that time says of a provider.
func figuresOf(p *houseapi.SurveyProvider, at time.Time) homeFigures {
	f := homeFigures{Rate: p.Rate, Log: p.Log, Keyspace: p.Keyspace}
	if p.State != "ready" || p.Detail != "" {
		f.Detail = p.State
		if p.Detail != "" {
			f.Detail += ": " + p.Detail
		}
	}
	if p.LogAge != nil && *p.LogAge > 0 {
		f.Oldest = at.Add(-time.Duration(*p.LogAge) * time.Second)
	}
	sum, known := uint64(0), len(p.Instances) > 0
	for i := range p.Instances {
		at := &p.Instances[i]
		if at.Version != "" && !slices.Contains(f.Versions, at.Version) {
			f.Versions = append(f.Versions, at.Version)
		}
		if at.Memory == nil {
			known = false
			continue
		}
		sum += *at.Memory
	}
	if known {
		f.Memory = &sum
	}
	return f
}
