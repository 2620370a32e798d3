package web

import (
	"net/http"
	"strings"

	"berth/internal/houseapi"
)

// settingsData is the page of what is made of what gateways send.
type settingsData struct {
	frame
	outcome
	Timezone   string
	Retention  string // such as 400d
	GatewayTag string
	Attributes string // tags, with blanks between
}

func (w *Web) settingsPage(rw http.ResponseWriter, r *http.Request) error {
	senders, err := w.askSenders(r.Context(), &houseapi.SendersRequest{Provider: requestOf(r).provider.Name})
	if err != nil {
		return err
	}
	return w.showSettings(rw, r, http.StatusOK, &settingsData{}, senders)
}

// settingsPost changes what differs from what the form was made with, and shows the page with what became of it.
func (w *Web) settingsPost(rw http.ResponseWriter, r *http.Request) error {
	q := &houseapi.SendersRequest{Provider: requestOf(r).provider.Name, Act: "set", Settings: &houseapi.SenderSettings{}}
	var names []string
	changed := func(name string) *string {
		value := strings.TrimSpace(r.PostFormValue(name))
		if value == r.PostFormValue("was_"+name) {
			return nil
		}
		names = append(names, name)
		return &value
	}
	s := q.Settings
	s.Timezone, s.Retention, s.GatewayTag = changed("timezone"), changed("retention"), changed("gateway_tag")
	if tags := changed("attribute_tags"); tags != nil {
		all := strings.FieldsFunc(*tags, func(c rune) bool { return c == ',' || c == ' ' })
		s.AttributeTags = &all
	}
	note(r, strings.Join(names, ", "))
	d := &settingsData{}
	senders, err := w.askSenders(r.Context(), q)
	status, err := d.settle(r, "settings.done", err)
	if err != nil {
		return err
	}
	if d.Problem == "" {
		d.taken(senders.Taken)
	} else {
		if senders, err = w.askSenders(r.Context(), &houseapi.SendersRequest{Provider: q.Provider}); err != nil {
			return err
		}
	}
	return w.showSettings(rw, r, status, d, senders)
}

func (w *Web) showSettings(rw http.ResponseWriter, r *http.Request, status int, d *settingsData, s *houseapi.Senders) error {
	d.Nav = "settings"
	d.Timezone, d.Retention, d.GatewayTag, d.Attributes = s.Timezone, s.Retention, s.GatewayTag, strings.Join(s.AttributeTags, " ")
	return w.show(rw, r, status, "settings", "settings.title", d)
}
