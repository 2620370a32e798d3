package mail

import (
	"bufio"
	"cmp"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"berth/internal/certs"
	"berth/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a mail server that answers one connection as the test says.
type server struct {
	t        *testing.T
	listen   net.Listener
	tls      *tls.Config
	answers  map[string]string // by the beginning of a command; "." is the message's end; "" ends the connection
	message  string
	signedIn string
	secured  bool
	done     chan struct{}
}

func newServer(t *testing.T, answers map[string]string) (*server, Options) {
	t.Helper()
	authority, err := certs.Open(t.TempDir()+"/ca.json", "test")
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := authority.Sign(&certs.Wish{Name: "localhost", Hosts: []string{"127.0.0.1"}, Usages: []certs.Usage{certs.Server}, Until: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, tls: &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, answers: answers, done: make(chan struct{})}
	if s.listen, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.done)
		if c, err := s.listen.Accept(); err == nil {
			s.serve(c)
		}
	}()
	t.Cleanup(func() { _ = s.listen.Close(); <-s.done })
	o, err := Parse([]byte("smtp://me:se%20cret@" + s.listen.Addr().String() + "?from=reports@example.com\n" + string(authority.CA())))
	if err != nil {
		t.Fatal(err)
	}
	return s, o
}

func (s *server) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	in := bufio.NewReader(c)
	say := func(text string) { _, _ = io.WriteString(c, text+"\r\n") }
	say("220 test")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSpace(line)
		verb, _, _ := strings.Cut(line, " ")
		answer, told := s.answers[verb]
		switch {
		case told && answer == "":
			return
		case told:
			say(answer)
		case verb == "EHLO" && !s.secured:
			say("250-test\r\n250-STARTTLS\r\n250 8BITMIME")
		case verb == "EHLO":
			say("250-test\r\n250-AUTH PLAIN\r\n250 8BITMIME")
		case verb == "STARTTLS":
			say("220 go on")
			secure := tls.Server(c, s.tls)
			c, in, s.secured = secure, bufio.NewReader(secure), true
		case verb == "AUTH":
			plain, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(line, "AUTH PLAIN "))
			s.signedIn = strings.ReplaceAll(string(plain), "\x00", "|")
			say("235 welcome")
		case verb == "DATA":
			say("354 go on")
			var b strings.Builder
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				b.WriteString(strings.TrimPrefix(line, "."))
			}
			if s.message = b.String(); s.answers["."] == "cut" {
				return
			}
			say(cmp.Or(s.answers["."], "250 taken"))
		case verb == "QUIT":
			say("221 bye")
			return
		default:
			say("250 well")
		}
	}
}

var letter = Message{
	ID: "1@example.com", To: "somebody@example.com", Subject: "每日报告：provider1 – Übersicht", Text: "温度\n.\n..two dots\n",
	Files: []File{{Name: "报告 Süd.pdf", Type: "application/pdf", Data: []byte("%PDF\x00\xff")}, {Name: "a.csv", Type: "text/csv; charset=utf-8; header=present", Data: []byte("a,b\r\n")}},
}

func TestAMessageArrivesWhole(t *testing.T) {
	s, o := newServer(t, nil)
	if err := Send(t.Context(), o, letter); err != nil {
		t.Fatal(err)
	}
	<-s.done
	if !s.secured || s.signedIn != "|me|se cret" {
		t.Errorf("secured %v, signed in as %q", s.secured, s.signedIn)
	}
	m, err := netmail.ReadMessage(strings.NewReader(s.message))
	if err != nil {
		t.Fatal(err)
	}
	decoder := mime.WordDecoder{}
	if subject, err := decoder.DecodeHeader(m.Header.Get("Subject")); err != nil || subject != letter.Subject {
		t.Errorf("subject %q (%v)", subject, err)
	}
	if h := m.Header; h.Get("Message-ID") != "<1@example.com>" || h.Get("To") != "<somebody@example.com>" || h.Get("From") != "<reports@example.com>" || h.Get("Auto-Submitted") != "auto-generated" {
		t.Errorf("header %v", h)
	}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for i := range 3 {
		p, err := parts.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(decoded(p))
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if got := strings.ReplaceAll(string(data), "\r\n", "\n"); got != letter.Text {
				t.Errorf("text %q", got)
			}
			continue
		}
		_, disposition, err := mime.ParseMediaType(p.Header.Get("Content-Disposition"))
		if err != nil {
			t.Fatal(err)
		}
		name, err := decoder.DecodeHeader(disposition["filename"])
		if want := letter.Files[i-1]; err != nil || name != want.Name || string(data) != string(want.Data) {
			t.Errorf("attached %q: %q (%v), header %v", name, data, err, p.Header)
		}
	}
}

func decoded(p *multipart.Part) io.Reader {
	if p.Header.Get("Content-Transfer-Encoding") == "base64" {
		return base64.NewDecoder(base64.StdEncoding, p)
	}
	return quotedprintable.NewReader(p)
}

// What became of a message is told rightly whatever the server does.
func TestOutcomes(t *testing.T) {
	for name, c := range map[string]struct {
		answers map[string]string
		want    string
	}{
		"taken, and then cut":            {map[string]string{"RSET": "", "QUIT": ""}, "sent"},
		"refused for ever":               {map[string]string{"RCPT": "550 nobody here"}, "final"},
		"refused for now":                {map[string]string{"RCPT": "451 later"}, "refused"},
		"refused with its content":       {map[string]string{".": "554 spam"}, "final"},
		"refused for now by its end":     {map[string]string{".": "452 full"}, "refused"},
		"not signed in":                  {map[string]string{"AUTH": "535 wrong"}, "refused"},
		"gone before its content":        {map[string]string{"MAIL": ""}, "refused"},
		"gone after its end, unanswered": {map[string]string{".": "cut"}, "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			_, o := newServer(t, c.answers)
			err := Send(t.Context(), o, letter)
			got := "unknown"
			if refused, ok := errors.AsType[*Refused](err); ok {
				got = "refused"
				if refused.Final {
					got = "final"
				}
			} else if err == nil {
				got = "sent"
			}
			if got != c.want {
				t.Errorf("%s (%v), not %s", got, err, c.want)
			}
		})
	}
	if err := Send(t.Context(), Options{Server: "127.0.0.1:1", Security: InClear, From: "a@example.com"}, letter); !isRefused(err) {
		t.Errorf("nobody there: %v", err)
	}
}

func isRefused(err error) bool {
	_, ok := errors.AsType[*Refused](err)
	return ok
}

// A server that is not who it says it is gets neither password nor message.
func TestAStrangersCertificateIsNotTrusted(t *testing.T) {
	s, o := newServer(t, nil)
	o.Trust = nil
	if err := Send(t.Context(), o, letter); !isRefused(err) || s.signedIn != "" {
		t.Errorf("%v, signed in as %q", err, s.signedIn)
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"": " ",
		"smtp://mail.example.com?from=a@example.com":        "mail.example.com:587 starttls",
		"smtps://u:p@mail.example.com?from=a@example.com\n": "mail.example.com:465 tls",
		"smtp+clear://127.0.0.1:2525?from=a@example.com":    "127.0.0.1:2525 none",
		"http://x?from=a@example.com":                       "invalid",
		"smtp://x?from=nobody":                              "invalid",
		"smtp://:secret@:25":                                "invalid",
		"smtp://x?from=a@example.com\nno certificate":       "invalid",
		"smtp://user:pass word@x y?from=a@example.com":      "invalid",
	} {
		o, err := Parse([]byte(text))
		got := o.Server + " " + o.Security
		if schema.Is(err, schema.Invalid) {
			got = "invalid"
			if strings.Contains(fmt.Sprint(err), "secret") || strings.Contains(fmt.Sprint(err), "pass word") {
				t.Errorf("the error tells the password: %v", err)
			}
		} else if err != nil {
			t.Error(err)
		}
		if got != want {
			t.Errorf("%q is %q, not %q", text, got, want)
		}
	}
}

// FuzzParse: settings are refused, or name a server that can be reached.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"smtp://u:p@h:1?from=a@b.c", "smtps://[::1]?from=a@b.c\n-----BEGIN CERTIFICATE-----", "smtp+clear://x", "\n\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		o, err := Parse(text)
		if err == nil && o.Server != "" && (o.From == "" || o.Security == "" || o.Validate() != nil) {
			t.Fatalf("%q became %+v", text, o)
		}
	})
}
