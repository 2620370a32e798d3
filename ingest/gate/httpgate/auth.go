package httpgate

import (
	"net/http"
	"net/url"
	"strings"

	"berth/ingest/gate/intake"
	"berth/ingest/limit"
	"berth/schema"
)

// credentialsOf returns the name and the key that a request shows, wherever it does.
func credentialsOf(r *http.Request, query url.Values) (name, key string) {
	if user, password, ok := r.BasicAuth(); ok {
		return user, password
	}
	if scheme, value, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok {
		if strings.EqualFold(scheme, "Token") || strings.EqualFold(scheme, "Bearer") {
			value = strings.TrimSpace(value)
			if user, password, ok := strings.Cut(value, ":"); ok { // as clients of InfluxDB 1 say it to InfluxDB 2
				return user, password
			}
			return "", value
		}
	}
	return query.Get("u"), query.Get("p")
}

// shownBy returns the gateway's name and the key that a request shows.
func shownBy(r *http.Request, query url.Values) (name, key string) {
	name, key = credentialsOf(r, query)
	if gateway := query.Get("gateway"); gateway != "" {
		name = gateway
	}
	return name, key
}

// authenticate returns who sends a request, and the sender whose rate it counts for.
func (l *Listener) authenticate(r *http.Request, name, key string) (*intake.Keys, intake.Identity, *limit.Sender, error) {
	c, ok := r.Context().Value(connKey{}).(*intake.Conn)
	if !ok {
		return nil, intake.Identity{}, nil, schema.Errorf(schema.Internal, "the request has no connection")
	}
	keys := l.in.Keys()
	id, err := keys.Authenticate(c, name, key)
	if err != nil {
		return nil, intake.Identity{}, nil, err
	}
	c.Knows()
	shows(c, id)
	sender, err := l.in.Admit(c, id)
	return keys, id, sender, err
}
