// Package mail hands messages to a mail server (SMTP with TLS and sign-in). It is the only package that knows the library
// (go-mail). Whom to write to, and what, is left to who calls.
//
// Its one invariant: Send says of each message whether the server has taken it, has not, or whether that cannot be known:
// a message of unknown outcome may have arrived, and must not be sent again as if it had not.
package mail

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/mail"
	"strconv"
	"time"

	gomail "github.com/wneessen/go-mail"

	"berth/schema"
)

// How a connection to the server is kept from being read by others.
const (
	StartTLS = "starttls" // begins in clear and goes on in TLS, or not at all
	TLS      = "tls"      // TLS from its beginning
	InClear  = "none"     // for a server on the same machine
)

// Options say by which server messages go.
type Options struct {
	Server   string // host:port; empty: none, nothing can be sent
	Security string // StartTLS, TLS or InClear
	User     string // signs in, unless it is empty
	Password string
	From     string      // whose address messages bear
	Trust    *tls.Config // nil: whom the machine trusts
}

// Validate returns an Invalid error that names what cannot be. No server at all is well.
func (o Options) Validate() error {
	if o.Server == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(o.Server); err != nil {
		return schema.Errorf(schema.Invalid, "%q is no mail server", o.Server).WithNext("give host:port, such as mail.example.com:587")
	}
	if o.Security != StartTLS && o.Security != TLS && o.Security != InClear {
		return schema.Errorf(schema.Invalid, "%q is no security of mail", o.Security).WithNext("give starttls, tls or none")
	}
	return CheckAddress(o.From)
}

// CheckAddress returns an Invalid error unless text is one plain mail address.
func CheckAddress(text string) error {
	a, err := mail.ParseAddress(text)
	if err != nil || a.Address != text || len(text) > 254 {
		return schema.Errorf(schema.Invalid, "%q is no mail address", text).WithNext("write it as somebody@example.com")
	}
	return nil
}

// File is something attached.
type File struct {
	Name string
	Type string // its media type
	Data []byte
}

// Message is what is sent, to one recipient.
type Message struct {
	ID      string // names it for ever: what is sent again bears the same
	To      string
	Subject string
	Text    string // the body, readable without what is attached
	Files   []File
}

// Refused is an error of a message that the server surely has not taken. Later it may.
type Refused struct {
	Err   error
	Final bool // the same message will not be taken later either
}

// Error says why.
func (r *Refused) Error() string { return r.Err.Error() }

// Unwrap returns the cause.
func (r *Refused) Unwrap() error { return r.Err }

// sendLimit bounds each step of a conversation with the server.
const sendLimit = 30 * time.Second

// Send hands a message to the server. nil: the server has taken it. *Refused: it surely has not. Any other error: that
// cannot be known.
func Send(ctx context.Context, o Options, m Message) error {
	msg, err := o.compose(m)
	if err != nil {
		return &Refused{Err: err, Final: true}
	}
	client, err := o.client()
	if err != nil {
		return &Refused{Err: err}
	}
	if err := client.DialWithContext(ctx); err != nil {
		return &Refused{Err: fmt.Errorf("reach the mail server: %w", err)}
	}
	defer client.Close() //nolint:errcheck // whether the message was taken is known before
	return outcome(client.Send(msg), msg)
}

// outcome tells what an error of the library means.
func outcome(err error, msg *gomail.Msg) error {
	if err == nil || msg.IsDelivered() { // an error after the server's yes changes nothing
		return nil
	}
	e, ok := errors.AsType[*gomail.SendError](err)
	if !ok {
		return err
	}
	switch {
	case e.ErrorCode() >= 400: // the server said no
		return &Refused{Err: err, Final: e.ErrorCode() >= 500}
	case e.Reason == gomail.ErrSMTPDataClose || e.Reason == gomail.ErrAmbiguous:
		return err
	default: // the message's end was never sent
		return &Refused{Err: err}
	}
}

func (o Options) client() (*gomail.Client, error) {
	host, port, err := net.SplitHostPort(o.Server)
	if err != nil {
		return nil, err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	options := []gomail.Option{gomail.WithPort(number), gomail.WithTimeout(sendLimit), gomail.WithoutNoop()}
	switch o.Security {
	case TLS:
		options = append(options, gomail.WithSSL())
	case StartTLS:
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	default:
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	}
	if o.Trust != nil {
		trust := o.Trust.Clone()
		trust.ServerName = host
		options = append(options, gomail.WithTLSConfig(trust))
	}
	if o.User != "" {
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(o.User), gomail.WithPassword(o.Password))
	}
	return gomail.NewClient(host, options...)
}

// compose makes the message.
func (o Options) compose(m Message) (*gomail.Msg, error) {
	msg := gomail.NewMsg(gomail.WithCharset(gomail.CharsetUTF8))
	if err := msg.From(o.From); err != nil {
		return nil, err
	}
	if err := msg.To(m.To); err != nil {
		return nil, err
	}
	msg.Subject(m.Subject)
	msg.SetMessageIDWithValue(m.ID)
	msg.SetDate()
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: nobody's absence answers it
	msg.SetBodyString(gomail.TypeTextPlain, m.Text)
	for _, f := range m.Files {
		if err := msg.AttachReader(f.Name, bytes.NewReader(f.Data), gomail.WithFileContentType(gomail.ContentType(f.Type))); err != nil {
			return nil, fmt.Errorf("attach %s: %w", f.Name, err)
		}
	}
	return msg, nil
}

// Write writes the message as it would be sent.
func (o Options) Write(w io.Writer, m Message) error {
	msg, err := o.compose(m)
	if err != nil {
		return err
	}
	_, err = msg.WriteTo(w)
	return err
}
