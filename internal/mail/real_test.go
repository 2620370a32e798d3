package mail_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/internal/mail"
	"berth/internal/mail/mailtest"
)

// A real mail server takes what is sent, by TLS and from whoever signs in, and its recipient reads what was written.
func TestARealMailServerTakesIt(t *testing.T) {
	s := mailtest.Start(t)
	o, err := mail.Parse(s.Settings)
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("很长的文件名", 12) + ".csv"
	m := mail.Message{
		ID: "one@example.com", To: "b@example.com", Subject: "每日报告 – Überblick: " + strings.Repeat("温度计 ", 30) + "end",
		Text: "Grüße, 你好\n.\n..dots\nFrom here\n" + strings.Repeat("x", 2000) + "\n",
		Files: []mail.File{
			{Name: "报告 2026-03-29.pdf", Type: "application/pdf", Data: bytes.Repeat([]byte{0, 1, 2, '\r', '\n', '.', '\n', 255}, 40_000)},
			{Name: "Übersicht März.xlsx", Type: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", Data: []byte("PK")},
			{Name: long, Type: "text/csv", Data: []byte("a,b\r\n1,2\r\n")},
		},
	}
	if err := mail.Send(t.Context(), o, m); err != nil {
		t.Fatal(err)
	}
	want := mailtest.Letter{To: m.To, ID: "<one@example.com>", Subject: m.Subject, Text: m.Text, Files: map[string][]byte{}}
	for _, f := range m.Files {
		want.Files[f.Name] = f.Data
	}
	if diff := cmp.Diff([]mailtest.Letter{want}, s.Letters()); diff != "" {
		t.Errorf("letters (-sent +opened):\n%s", diff)
	}
	m.To = "nobody@example.com"
	if refused, ok := errors.AsType[*mail.Refused](mail.Send(t.Context(), o, m)); !ok || !refused.Final {
		t.Errorf("an address that is not there: %v", refused)
	}
	o.Password += "x"
	if refused, ok := errors.AsType[*mail.Refused](mail.Send(t.Context(), o, m)); !ok {
		t.Errorf("a wrong password: %v", refused)
	}
	o.Trust = nil
	if refused, ok := errors.AsType[*mail.Refused](mail.Send(t.Context(), o, m)); !ok || !strings.Contains(refused.Error(), "certificate") {
		t.Errorf("a certificate that nobody trusts: %v", refused)
	}
	if s.Taken() != 1 {
		t.Errorf("the server took %d", s.Taken())
	}
}
