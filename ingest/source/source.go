// Package source takes what is published at brokers of a provider's own: ingest is their client.
//
// It gives [Sources], which keeps a connection for each source of the provider's record, and says how they do. What bytes
// mean on the wire is left to package broker, whose readings a message has to package topics, and everything else to the
// intake that gateways' frames go through: who comes by the port and who comes by a broker is told apart nowhere behind it.
// Its one invariant: a message is acknowledged only when the log has it, or, when it is refused, when that is counted and kept;
// so what a broker may forget is on disk here, and a message that can never be taken holds up nothing.
//
// A broker keeps what is not acknowledged in the session of the source's client identifier, and sends it again after every
// connection that ended before: repeats change nothing. Connections that fail are tried again after ever longer pauses, up to
// half a minute. Of two instances with one identifier the broker lets the later in; the other comes again after a pause, and
// only while the log is its own: a writer learns within seconds that another has taken over.
//
// A retained message is sent again whenever it is subscribed to, which is at every connection, and says nothing of its age. So
// it is taken if its readings have times, and repeats change nothing; if one has none it would be stored again at every
// connection with a time at which nobody has measured it, and is not taken, but counted. What is published while the session is
// there does not come as retained, also if its publisher has it retained [MQTT-3.3.1-9].
package source

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"berth/ingest/source/broker"
	"berth/internal/credentials"
	"berth/internal/headapi"
	"berth/schema"
	"berth/schema/record"
)

const (
	// pauseLeast and pauseMost bound the pause before a connection is tried again; steady is how long one must have lasted for
	// the next pause to be the shortest.
	pauseLeast = 500 * time.Millisecond
	pauseMost  = 30 * time.Second
	steady     = 30 * time.Second
	// lookEvery is how often it is looked whether messages can be taken again.
	lookEvery = 250 * time.Millisecond
	// askAgain is how often a subscription that was refused is asked for again.
	askAgain = time.Minute
	// drainLimit is how long what is in hand may take to be acknowledged when a source is stopped.
	drainLimit = 1500 * time.Millisecond
	// forgetLimit is how long a broker may take to forget the session of a source that was removed.
	forgetLimit = 15 * time.Second
)

// source is a broker that is connected to.
type source struct {
	o      *Options
	record record.Source
	log    *slog.Logger
	rules  []record.TopicRule
	cancel context.CancelFunc
	done   chan struct{} // closed when its goroutine has ended

	mu     sync.Mutex // guards what follows
	status headapi.Source
	link   *link  // nil: not connected
	linked bool   // it was connected since it was started
	sealed []byte // the password, as it was sealed last
}

// newSource returns a source; run runs it.
func newSource(o *Options, r *record.Source) *source {
	s := &source{o: o, record: *r, sealed: r.Sealed, log: o.Logger.With("source", r.Name, "broker", r.URL), rules: r.Rules(), done: make(chan struct{})}
	s.status = headapi.Source{Name: r.Name, State: headapi.SourceConnecting, Since: time.Now().UTC()}
	return s
}

// run keeps the source connected until ctx ends. before is the one in whose place it is, if there is one.
func (s *source) run(ctx context.Context, before *source) {
	defer close(s.done)
	if before != nil {
		<-before.done // it has the same session
		if !before.sameSession(s) {
			before.forget(ctx)
		}
	}
	for attempt := 0; ctx.Err() == nil; attempt++ {
		if why := s.o.obstacle(); why != "" {
			s.say(headapi.SourceWaiting, why)
			if !sleep(ctx, lookEvery) {
				return
			}
			attempt--
			continue
		}
		begun := time.Now()
		err := s.serve(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(begun) > steady {
			attempt = 0
		}
		if s.o.obstacle() == "" {
			s.say(headapi.SourceAway, schema.Show(err))
		}
		if !sleep(ctx, pause(attempt)) {
			return
		}
	}
}

// pause returns how long to wait before a further attempt: twice as long each time, and by chance up to half of that less, so
// that many do not come at once.
func pause(attempt int) time.Duration {
	most := min(pauseLeast<<min(attempt, 16), pauseMost)
	return most/2 + rand.N(most/2) //nolint:gosec // to spread attempts, not to keep a secret
}

// sleep waits, and reports whether ctx has not ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// serve takes messages over one connection until it ends, and returns why.
func (s *source) serve(ctx context.Context) error {
	options, err := s.options()
	if err != nil {
		return err
	}
	l, err := s.newLink(ctx)
	if err != nil {
		return err
	}
	defer l.close()
	s.linkTo(l)
	defer s.linkTo(nil)
	options.Handle = l.take
	conn, err := broker.Dial(ctx, options)
	if err != nil {
		return err
	}
	defer conn.Close()
	l.begin(conn)
	refused, err := conn.Subscribe(ctx, s.record.Filters())
	if err == nil {
		err = conn.Unsubscribe(ctx, s.record.Left)
	}
	if err != nil {
		return err
	}
	s.connected(conn.Resumed(), refused)
	again := time.NewTicker(askAgain)
	defer again.Stop()
	for {
		select {
		case <-conn.Done():
			return conn.Err()
		case <-l.failed:
			return l.why()
		case <-ctx.Done():
			l.drain()
			return ctx.Err()
		case <-again.C:
			if len(refused) == 0 {
				continue
			}
			if refused, err = conn.Subscribe(ctx, refused); err != nil {
				return err
			}
			s.granted(refused)
		}
	}
}

// options returns how to connect.
func (s *source) options() (*broker.Options, error) {
	address, secure := s.record.Address()
	o := &broker.Options{Address: address, ClientID: s.record.ClientID, User: s.record.User}
	s.mu.Lock()
	sealed := s.sealed
	s.mu.Unlock()
	if len(sealed) > 0 {
		password, err := credentials.Open(s.o.Secret, sealed)
		if err != nil {
			return nil, schema.Errorf(schema.Invalid, "the password cannot be opened").WithNext("add the source again, with --password-file").WithCause(err)
		}
		o.Password = string(password)
	}
	if !secure {
		return o, nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, schema.Errorf(schema.Invalid, "%q is no address of a broker", address).WithCause(err)
	}
	o.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if s.record.CA != "" {
		o.TLS.RootCAs = x509.NewCertPool()
		if !o.TLS.RootCAs.AppendCertsFromPEM([]byte(s.record.CA)) {
			return nil, schema.Errorf(schema.Invalid, "the certificates of whom to trust cannot be read").WithNext("add the source again, with another --ca")
		}
	}
	return o, nil
}

// sameSession reports whether two sources are one client of one broker.
func (s *source) sameSession(o *source) bool {
	return s.record.URL == o.record.URL && s.record.ClientID == o.record.ClientID
}

// reseal notes that the password was sealed anew, as a start of the provisioner does.
func (s *source) reseal(sealed []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sealed = sealed
}

// forget has the broker forget the session, which it would go on to fill.
func (s *source) forget(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, forgetLimit)
	defer cancel()
	options, err := s.options()
	if err == nil {
		options.Clean = true // [MQTT-3.1.2-6]
		var conn *broker.Conn
		if conn, err = broker.Dial(ctx, options); err == nil {
			conn.Close()
			return
		}
	}
	s.log.Warn("a broker keeps the session of a source that was removed, until it forgets it by itself", "client", s.record.ClientID, "error", err)
}

// connected notes that the source takes messages.
func (s *source) connected(resumed bool, refused []string) {
	s.mu.Lock()
	lost := s.linked && !resumed
	s.linked, s.status.Resumed = true, resumed
	s.mu.Unlock()
	if lost {
		s.log.Warn("the broker has not kept the session: what was published while the source was not connected is lost, unless its publishers send it again")
	}
	s.granted(refused)
}

// granted notes which subscriptions are refused.
func (s *source) granted(refused []string) {
	if len(refused) == 0 {
		s.say(headapi.SourceConnected, "")
		return
	}
	s.say(headapi.SourceRefused, "the broker refuses the subscription to "+list(refused)+": allow the user of the source to read it")
}

// list shows a few names.
func list(names []string) string {
	const most = 3
	text := strings.Join(names[:min(len(names), most)], ", ")
	if len(names) > most {
		text += ", ..."
	}
	return text
}

// say notes a state, and logs it when it is another.
func (s *source) say(state, detail string) {
	s.mu.Lock()
	changed := s.status.State != state
	if changed {
		s.status.State, s.status.Since = state, time.Now().UTC()
	}
	different := changed || s.status.Detail != detail
	s.status.Detail = detail
	s.mu.Unlock()
	switch {
	case !different:
	case state == headapi.SourceConnected:
		s.log.Info("a source is connected")
	default:
		s.log.Warn("a source is not as it should be", "state", state, "reason", detail)
	}
}

// linkTo notes over which link messages come, nil: none.
func (s *source) linkTo(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.link = l
}

// look returns how the source does.
func (s *source) look() headapi.Source {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := s.status
	if s.link != nil {
		status.InHand = s.link.inHand()
	}
	return status
}

// count changes what is counted.
func (s *source) count(add func(status *headapi.Source)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	add(&s.status)
}
