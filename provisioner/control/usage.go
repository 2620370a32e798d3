package control

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"berth/internal/usage"
)

// used answers with what providers used.
func (s *Server) used(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	rows, err := usage.Rows(r.Context(), s.o.Usage, usage.Query{
		Provider: q.Get("provider"), Month: q.Get("month"), ByMonth: q.Get("by_month") == "true",
	})
	if err != nil {
		return err
	}
	return answer(w, usage.Usage{Usage: rows})
}

// Usage returns what providers used.
func (c *Client) Usage(ctx context.Context, q usage.Query) (out usage.Usage, err error) {
	values := url.Values{"provider": {q.Provider}, "month": {q.Month}, "by_month": {strconv.FormatBool(q.ByMonth)}}
	return out, c.do(ctx, http.MethodGet, "/v1/usage?"+values.Encode(), nil, &out)
}
