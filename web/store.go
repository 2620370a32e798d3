package web

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/alexedwards/scs/v2"

	"berth/internal/bus"
	"berth/schema"
)

const (
	// idleLife is how long a session lasts in which nothing is asked.
	idleLife = 24 * time.Hour
	// seenEvery is how exactly it is known when something was asked last, so that a session in use costs few writes.
	seenEvery = 10 * time.Minute
)

// newSessions returns the manager of sessions, which keeps them in the store under hashes of their tokens.
func newSessions(store *sessionStore) *scs.SessionManager {
	// Not scs.New: that starts a store in memory whose goroutine cannot be stopped for sure.
	return &scs.SessionManager{Store: store, Codec: scs.GobCodec{}, Lifetime: sessionLife, HashTokenInStore: true}
}

// sessionKey returns the key of a session in the store, as the manager makes it.
func sessionKey(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// sessionStore keeps sessions in a bucket. The release before this one takes them for expired; it wrote 8 bytes of expiry
// and then the session.
//
//	8 bytes   expiry, Unix seconds, big-endian, with the highest bit set
//	8 bytes   when something was asked last, Unix seconds, big-endian
//	          the session, encoded by the manager
type sessionStore struct {
	bucket *bus.Bucket
	now    func() time.Time
}

var _ scs.CtxStore = (*sessionStore)(nil)

const (
	sessionHead = 16
	headMark    = 1 << 63
)

// split returns what a kept session says, and whether it lasts.
func (s *sessionStore) split(value []byte) (seen time.Time, session []byte, lasts bool) {
	if len(value) < 8 {
		return seen, nil, false
	}
	now, first := s.now(), binary.BigEndian.Uint64(value)
	if first&headMark == 0 { // of the release before
		return time.Time{}, value[8:], now.Unix() < int64(first)
	}
	if len(value) < sessionHead {
		return seen, nil, false
	}
	seen = time.Unix(int64(binary.BigEndian.Uint64(value[8:])), 0)
	return seen, value[sessionHead:], now.Unix() < int64(first&^headMark) && now.Sub(seen) < idleLife
}

func join(expiry, seen time.Time, session []byte) []byte {
	head := binary.BigEndian.AppendUint64(make([]byte, 0, sessionHead+len(session)), uint64(expiry.Unix())|headMark)
	return append(binary.BigEndian.AppendUint64(head, uint64(seen.Unix())), session...)
}

// FindCtx returns the session, or that there is none, and notes that something was asked.
func (s *sessionStore) FindCtx(ctx context.Context, key string) ([]byte, bool, error) {
	value, revision, err := s.bucket.Get(ctx, key)
	if schema.Is(err, schema.NotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	seen, session, lasts := s.split(value)
	if !lasts {
		return nil, false, nil
	}
	if now := s.now(); now.Sub(seen) >= seenEvery {
		expiry := time.Unix(int64(binary.BigEndian.Uint64(value)&^headMark), 0)
		_, _ = s.bucket.Update(ctx, key, join(expiry, now, session), revision) // somebody else noted it, or ended it: that holds
	}
	return session, true, nil
}

// CommitCtx keeps the session until it expires.
func (s *sessionStore) CommitCtx(ctx context.Context, key string, b []byte, expiry time.Time) error {
	_, err := s.bucket.Put(ctx, key, join(expiry, s.now(), b))
	return err
}

// DeleteCtx drops the session, or finds it gone.
func (s *sessionStore) DeleteCtx(ctx context.Context, key string) error {
	return s.bucket.Delete(ctx, key)
}

// openSession is a session as people are shown it.
type openSession struct {
	Key      string
	Person   string // empty: by a link
	Role     string // of who came by a link
	Provider string
	Created  int64
	Address  string
	Agent    string
	Begun    time.Time
	Seen     time.Time
}

// list returns the sessions that last and are wanted, the newest first.
func (s *sessionStore) list(ctx context.Context, wanted func(o openSession) bool) ([]openSession, error) {
	all, err := s.bucket.List(ctx)
	if err != nil {
		return nil, err
	}
	var open []openSession
	for key, e := range all {
		seen, session, lasts := s.split(e.Value)
		if !lasts {
			continue
		}
		_, values, err := scs.GobCodec{}.Decode(session)
		if err != nil {
			continue
		}
		text := func(name string) string { t, _ := values[name].(string); return t }
		begun, _ := values[sessionBegun].(int64)
		created, _ := values[sessionCreated].(int64)
		o := openSession{
			Key: key, Person: text(sessionPerson), Role: text(sessionRole), Provider: text(sessionProvider), Created: created,
			Address: text(sessionAddress), Agent: text(sessionAgent), Begun: time.Unix(0, begun), Seen: seen,
		}
		if wanted(o) {
			open = append(open, o)
		}
	}
	slices.SortFunc(open, func(a, b openSession) int { return b.Begun.Compare(a.Begun) })
	return open, nil
}

var errNoContext = errors.New("the session store needs a context")

// Find is not used: the manager prefers the methods with a context.
func (s *sessionStore) Find(string) ([]byte, bool, error) { return nil, false, errNoContext }

// Commit is not used.
func (s *sessionStore) Commit(string, []byte, time.Time) error { return errNoContext }

// Delete is not used.
func (s *sessionStore) Delete(string) error { return errNoContext }
