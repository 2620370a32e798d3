package api

import (
	"net/http"

	"berth/schema"
)

// statuses is the one table from kinds of error to HTTP status.
var statuses = map[schema.Code]int{
	schema.Invalid:      http.StatusBadRequest,
	schema.Unauthorized: http.StatusUnauthorized,
	schema.Pending:      http.StatusUnauthorized,
	schema.Forbidden:    http.StatusForbidden,
	schema.NotFound:     http.StatusNotFound,
	schema.Conflict:     http.StatusConflict,
	schema.TooLarge:     http.StatusRequestEntityTooLarge,
	schema.Limited:      http.StatusTooManyRequests,
	schema.Unavailable:  http.StatusServiceUnavailable,
	schema.Internal:     http.StatusInternalServerError,
}

// Status returns the HTTP status of a kind of error, 500 for one that is unknown.
func Status(code schema.Code) int {
	if s, ok := statuses[code]; ok {
		return s
	}
	return http.StatusInternalServerError
}

// The paths at which every program that serves HTTP says how it is. They are open to everybody, so they tell no secrets
// and cost little.
const (
	AlivePath = "/healthz" // it runs: 200, always
	ReadyPath = "/readyz"  // it can do its work: 200, else 503
)
