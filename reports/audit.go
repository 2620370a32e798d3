package reports

import (
	"encoding/json"
	"net/http"

	"berth/internal/api"
	"berth/internal/httpserver"
	"berth/reports/audit"
	"berth/schema"
)

// audit recounts everything and answers with an api.AuditEvent a line, the result last. Once the first line is out an
// error is a line too: {"problem": …}.
func (r *Reports) audit(w http.ResponseWriter, req *http.Request) error {
	if !r.auditing.TryLock() {
		return schema.Errorf(schema.Limited, "the books are being recounted already").WithNext("wait until that has ended")
	}
	defer r.auditing.Unlock()
	log, err := r.bus.OpenLog(req.Context())
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	stream := httpserver.NewStream(w, req)
	defer stream.Close()
	line := func(v any) error {
		text, err := json.Marshal(v)
		if err != nil {
			return err
		}
		if _, err := stream.Write(append(text, '\n')); err != nil {
			return err
		}
		return stream.Flush()
	}
	err = audit.Run(stream.Context(), audit.Options{ //nolint:contextcheck // the stream's context is the request's
		Provider: r.options.Provider, Engine: r.engine, Keyspace: &r.store, Head: r.bus, Log: log,
		Tell: func(e api.AuditEvent) error { return line(&e) },
	})
	if err == nil {
		return nil
	}
	r.options.Logger.Warn("the books could not be recounted", "error", err)
	problem := httpserver.ProblemBody{Code: schema.CodeOf(err), Detail: schema.Show(err)}
	_ = line(map[string]any{"problem": problem}) // who asked may be gone
	return nil
}
