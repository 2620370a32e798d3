package web

import (
	"net/http"

	"berth/internal/houseapi"
	"berth/schema"
)

// outcome is what a page says of what its form did.
type outcome struct {
	Done    string // key of what was done
	Late    string // key of why that does not hold yet
	Why     string // in the service's own words
	Wrong   string // key of why it was not
	Problem string // in the service's own words
}

// taken says that what was done does not hold yet, if the provider's ingest does not go by it.
func (o *outcome) taken(t *houseapi.Taken) {
	switch {
	case t == nil || t.Live:
		return
	case t.Refused:
		o.Late = "taken.refused"
	default:
		o.Late = "taken.waits"
	}
	o.Done, o.Why = "", t.Why
}

// settle tells the page and the audit log what became of what a form asked for, which is called done, and returns the status
// of the page. An error that does not say what is wrong with what was given is returned: there is no page then.
func (o *outcome) settle(r *http.Request, done string, err error) (status int, _ error) {
	if err == nil {
		o.Done = done
		return http.StatusOK, nil
	}
	if !told(err) {
		return 0, err
	}
	fail(r, err)
	o.Wrong, o.Problem = "wrong."+string(schema.CodeOf(err)), schema.Show(err)
	return http.StatusBadRequest, nil
}

// told reports whether an error says what is wrong with what was given, so that the page with the form says it.
func told(err error) bool {
	switch schema.CodeOf(err) {
	case schema.Invalid, schema.Conflict, schema.NotFound, schema.Limited:
		return true
	default:
		return false
	}
}
