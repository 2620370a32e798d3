package mailtest

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
)

// Letter is a message as its recipient opens it.
type Letter struct {
	To      string // of its envelope
	ID      string
	Subject string
	Text    string
	Files   map[string][]byte // by their names
}

// open reads a message.
func open(raw []byte) (l Letter, err error) {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return l, err
	}
	l = Letter{To: m.Header.Get("Envelope-To"), ID: m.Header.Get("Message-Id"), Files: map[string][]byte{}}
	if l.Subject, err = new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil {
		return l, fmt.Errorf("read the subject: %w", err)
	}
	return l, openParts(m.Header.Get("Content-Type"), m.Header.Get("Content-Transfer-Encoding"), m.Body, &l)
}

// openParts reads a message's body: its text, and what is attached.
func openParts(kind, encoding string, body io.Reader, l *Letter) error {
	media, params, err := mime.ParseMediaType(kind)
	if err != nil {
		return fmt.Errorf("read the type %q: %w", kind, err)
	}
	if !strings.HasPrefix(media, "multipart/") {
		text, err := io.ReadAll(plain(encoding, body))
		l.Text = strings.ReplaceAll(string(text), "\r\n", "\n")
		return err
	}
	parts := multipart.NewReader(body, params["boundary"])
	for {
		p, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read a part: %w", err)
		}
		kind, encoding := p.Header.Get("Content-Type"), p.Header.Get("Content-Transfer-Encoding")
		disposition, params, err := mime.ParseMediaType(p.Header.Get("Content-Disposition"))
		if err != nil || disposition != "attachment" {
			if err := openParts(kind, encoding, p, l); err != nil {
				return err
			}
			continue
		}
		name, err := new(mime.WordDecoder).DecodeHeader(params["filename"])
		if err != nil {
			return fmt.Errorf("read a file's name: %w", err)
		}
		if l.Files[name], err = io.ReadAll(plain(encoding, p)); err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
	}
}

func plain(encoding string, r io.Reader) io.Reader {
	switch strings.ToLower(encoding) {
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, r)
	case "quoted-printable":
		return quotedprintable.NewReader(r)
	default:
		return r
	}
}
