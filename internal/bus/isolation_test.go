package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"berth/schema"
)

// neighbours are two providers of one server, and everybody who may more than a pipeline.
type neighbours struct {
	*house
	system, owner    *Conn // of the server, of the house
	acme, bolt       tenant
	gone             string // public key of an account that may be destroyed
	attacker, victim *Conn  // the pipelines of acme and bolt
}

// tenant is a provider's account.
type tenant struct {
	full, pipeline *Conn
	key, claims    string
	credentials    Credentials // the pipeline's
}

func newNeighbours(t *testing.T, h *house) *neighbours {
	t.Helper()
	n := &neighbours{house: h}
	n.system, n.owner = n.connect(n.authority.System()), n.connect(n.authority.House())
	if err := n.owner.PrepareHouse(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.acme, n.bolt = n.tenant("acme"), n.tenant("bolt")
	n.gone = n.tenant("gone").key
	n.attacker, n.victim = n.acme.pipeline, n.bolt.pipeline
	providers := must(n.owner.Bucket(t.Context(), BucketOptions{Name: "providers"}))(t)
	must(providers.Put(t.Context(), "bolt", []byte("secrets of bolt")))(t)
	return n
}

func (n *neighbours) tenant(name string) tenant {
	n.t.Helper()
	full, limited, key, err := n.authority.Provider(name)
	if err != nil {
		n.t.Fatal(err)
	}
	acc, _, err := n.authority.load(name)
	if err != nil {
		n.t.Fatal(err)
	}
	t := tenant{full: n.connect(full), pipeline: n.connect(limited), key: key, claims: acc.Key.JWT, credentials: limited}
	if err := t.full.Prepare(n.t.Context(), LogOptions{}); err != nil {
		n.t.Fatal(err)
	}
	records := must(t.full.Bucket(n.t.Context(), BucketOptions{Name: "pipeline"}))(n.t)
	must(records.Put(n.t.Context(), "pipeline", []byte("record of "+name)))(n.t)
	if _, err := t.full.js.Publish(n.t.Context(), rejectsSubject, []byte("reject of "+name)); err != nil {
		n.t.Fatal(err)
	}
	return t
}

// A try does something as somebody and reports whether it worked.
type try func(as *Conn) bool

const (
	answerTime = 30 * time.Second       // for who may, on a machine that does much else
	silence    = 250 * time.Millisecond // for who may not
	refusal    = 2 * time.Second        // for whom the server may leave without an answer
)

// patience is how long a try waits for an effect: whoever may sees it at once, and for who may not there is none.
func (n *neighbours) patience(as *Conn) time.Duration {
	if as == n.attacker {
		return silence
	}
	return answerTime
}

// asks asks on a subject; it works if the answer has the text, and is no error.
func (n *neighbours) asks(subject, request, text string) try {
	return func(as *Conn) bool {
		msg, err := as.nc.Request(subject, []byte(request), n.patience(as))
		if err != nil {
			return false
		}
		var answer struct{ Error any }
		_ = json.Unmarshal(msg.Data, &answer) // what is no JSON is no error
		return answer.Error == nil && msg.Header.Get("Status") == "" && strings.Contains(string(msg.Data), text)
	}
}

// says publishes, with a reply subject; it works if the effect is seen.
func (n *neighbours) says(subject, reply, data string, seen func() bool) try {
	return func(as *Conn) bool {
		if seen() {
			n.t.Errorf("what publishing to %s should bring about is there before", subject)
		}
		_ = as.nc.PublishMsg(&nats.Msg{Subject: subject, Reply: reply, Data: []byte(data)}) // the server tells later
		_ = as.nc.Flush()
		return n.comes(as, seen)
	}
}

// comes reports whether something is so within the patience.
func (n *neighbours) comes(as *Conn, seen func() bool) bool {
	limit := time.After(n.patience(as))
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !seen() {
		select {
		case <-tick.C:
		case <-limit:
			return false
		}
	}
	return true
}

// hears subscribes; it works if something is heard after what causes it.
func (n *neighbours) hears(subject string, cause func()) try {
	return func(as *Conn) bool {
		heard := make(chan *nats.Msg, 64)
		sub, err := as.nc.ChanSubscribe(subject, heard)
		if err != nil {
			return false
		}
		defer sub.Unsubscribe()
		_ = as.nc.Flush()
		cause()
		select {
		case <-heard:
			return true
		case <-time.After(n.patience(as)):
			return false
		}
	}
}

// holds returns whether a stream of an account has a message with the text.
func holds(t *testing.T, c *Conn, stream, text string) func() bool {
	return func() bool {
		s, err := c.js.Stream(t.Context(), stream)
		if err != nil {
			return false
		}
		state := s.CachedInfo().State
		for seq := state.FirstSeq; seq > 0 && seq <= state.LastSeq; seq++ {
			if m, err := s.GetMsg(t.Context(), seq); err == nil && strings.Contains(string(m.Data), text) {
				return true
			}
		}
		return false
	}
}

func lacks(has func() bool) func() bool { return func() bool { return !has() } }

const last = `{"last_by_subj":"%s"}`

// TestAPipelineOpensNothingOfAnother: what a pipeline's credentials do not open of another provider, of the house and of the
// server. Each attempt works with the right credentials, so that a refusal means something.
func TestAPipelineOpensNothingOfAnother(t *testing.T) {
	onEveryServer(t, aPipelineOpensNothingOfAnother)
}

func aPipelineOpensNothingOfAnother(t *testing.T, h *house) {
	t.Helper()
	n := newNeighbours(t, h)
	bolt := n.bolt
	stop := must(n.victim.Answer("head.latest", func(_ context.Context, _ []byte, reply func([]byte) error) error {
		return reply([]byte("newest of bolt"))
	}))(t)
	defer stop()
	ask := func() {
		ctx, cancel := context.WithTimeout(t.Context(), answerTime)
		defer cancel()
		if err := bolt.full.Ask(ctx, "head.latest", []byte("q"), func([]byte) error { return nil }); err != nil {
			t.Error(err)
		}
	}
	publish := func() { _, _ = bolt.full.js.Publish(t.Context(), rejectsSubject, []byte("another reject of bolt")) }
	inbox := n.victim.nc.NewInbox()
	var reached nats.Msg
	listening := must(n.victim.nc.SubscribeSync(inbox))(t)
	injected := func() bool {
		m, err := listening.NextMsg(time.Millisecond)
		if err == nil {
			reached = *m
		}
		return err == nil
	}
	for _, a := range []struct {
		what  string
		right *Conn
		try   try
	}{
		{"append to its log", n.victim, n.says("log", "", "forged batch", holds(t, bolt.full, "LOG", "forged batch"))},
		{"append to its log by a reply", n.victim, n.says("log", "log", "x", holds(t, bolt.full, "LOG", `"stream":"LOG"`))},
		{"keep a reject", n.victim, n.says("rejects", "", "forged reject", holds(t, bolt.full, "REJECTS", "forged reject"))},
		{"announce a service", n.victim, n.says("$KV.services.ingest.x", "", "forged service", holds(t, bolt.full, "KV_services", "forged service"))},
		{"change its record", bolt.full, n.says("$KV.pipeline.gateway.x", "", "forged key", holds(t, bolt.full, "KV_pipeline", "forged key"))},
		{"read its record", n.victim, n.asks("$JS.API.DIRECT.GET.KV_pipeline", fmt.Sprintf(last, "$KV.pipeline.pipeline"), "record of bolt")},
		{"read a reject", n.victim, n.asks("$JS.API.DIRECT.GET.REJECTS", `{"seq":1}`, "reject of bolt")},
		{"ask its head", n.victim, func(as *Conn) bool {
			ctx, cancel := context.WithTimeout(t.Context(), n.patience(as))
			defer cancel()
			return as.Ask(ctx, "head.latest", []byte("q"), func([]byte) error { return nil }) == nil
		}},
		{"hear its questions", n.victim, n.hears("head.>", ask)},
		{"hear its answers", n.victim, n.hears("_INBOX.>", ask)},
		{"hear its rejects", bolt.full, n.hears("rejects", publish)},
		{"hear everything", bolt.full, n.hears(">", publish)},
		{"answer into its inbox", n.victim, n.says(inbox, "", "forged answer", injected)},
		{"have the server answer into its inbox", n.victim, n.says("$JS.API.STREAM.INFO.LOG", inbox, "", injected)},
		{"read the house's providers", n.owner, n.asks("$JS.API.DIRECT.GET.KV_providers", fmt.Sprintf(last, "$KV.providers.bolt"), "secrets of bolt")},
		{"write the house's providers", n.owner, n.says("$KV.providers.acme", "", "forged provider", holds(t, n.owner, "KV_providers", "forged provider"))},
		{"make itself a token", n.owner, n.says("$KV.tokens.x", "", "forged token", holds(t, n.owner, "KV_tokens", "forged token"))},
		{"announce itself in the house", n.owner, n.says("$KV.services.web.x", "", "forged web", holds(t, n.owner, "KV_services", "forged web"))},
		{"look at the server", n.system, n.asks("$SYS.REQ.SERVER.PING", "", "server")},
		{"look at its connections", n.system, n.asks("$SYS.REQ.ACCOUNT."+bolt.key+".CONNZ", "", `"num_connections":2`)},
		{"look at its streams", n.system, n.asks("$SYS.REQ.ACCOUNT."+bolt.key+".JSZ", "", `"name":"bolt"`)},
		{"read its claims", n.system, n.asks("$SYS.REQ.ACCOUNT."+bolt.key+".CLAIMS.LOOKUP", "", ".")},
		{"list the accounts", n.system, n.asks("$SYS.REQ.CLAIMS.LIST", "", bolt.key)},
		{"replace its claims", n.system, n.asks("$SYS.REQ.CLAIMS.UPDATE", bolt.claims, bolt.key)},
		{"hear of its connections", n.system, n.hears("$SYS.ACCOUNT."+bolt.key+".>", func() { n.connect(bolt.credentials).Close() })},
		{"purge an account's streams", n.system, n.asks("$JS.API.ACCOUNT.PURGE."+n.gone, "", `"initiated":true`)},
		// What destroys comes last.
		{"purge its log", n.victim, n.says("$JS.API.STREAM.PURGE.LOG", "", "", lacks(holds(t, bolt.full, "LOG", "forged batch")))},
		{"delete its log", bolt.full, n.says("$JS.API.STREAM.DELETE.LOG", "", "", func() bool {
			_, err := bolt.full.js.Stream(t.Context(), "LOG")
			return err != nil
		})},
	} {
		if a.try(n.attacker) {
			t.Errorf("acme's pipeline can %s (of bolt, or the house)", a.what)
		}
		for injected() { // what an earlier try left is not the next one's
			_ = reached
		}
		if !a.try(a.right) {
			t.Errorf("nobody can %s: the refusal means nothing", a.what)
		}
		for injected() {
			_ = reached
		}
	}
}

// TestAPipelineChangesNothingOfItsOwnAccount: what a pipeline may not do even at home. These are guard rails (see
// permission.go): what is another's lies in another account.
func TestAPipelineChangesNothingOfItsOwnAccount(t *testing.T) {
	onEveryServer(t, aPipelineChangesNothingOfItsOwnAccount)
}

func aPipelineChangesNothingOfItsOwnAccount(t *testing.T, h *house) {
	t.Helper()
	n := newNeighbours(t, h)
	acme := n.acme
	exists := func(stream string) func() bool {
		return func() bool { _, err := acme.full.js.Stream(t.Context(), stream); return err == nil }
	}
	config := func(name, subject string, bytes int) string {
		return fmt.Sprintf(`{"name":%q,"subjects":[%q],"max_bytes":%d,"storage":"file","retention":"limits","discard":"new","allow_direct":true}`, name, subject, bytes)
	}
	info := func() int64 {
		s := must(acme.full.js.Stream(t.Context(), "LOG"))(t)
		return s.CachedInfo().Config.MaxBytes
	}
	before := info()
	for _, a := range []struct {
		what string
		try  try
	}{
		{"change its record", n.says("$KV.pipeline.pipeline", "", "forged record", holds(t, acme.full, "KV_pipeline", "forged record"))},
		{"let in a gateway's key", n.says("$KV.pipeline.gateway.x", "", "forged key", holds(t, acme.full, "KV_pipeline", "forged key"))},
		{"make a stream", n.says("$JS.API.STREAM.CREATE.MORE", "", config("MORE", "more", 1<<20), exists("MORE"))},
		{"make a consumer of the log", n.asks("$JS.API.CONSUMER.DURABLE.CREATE.LOG.d", `{"stream_name":"LOG","config":{"durable_name":"d","ack_policy":"none"}}`, "d")},
		{"raise its quota", n.says("$JS.API.STREAM.UPDATE.LOG", "", config("LOG", "log", 2<<30), func() bool { return info() != before })},
		{"list its streams", n.asks("$JS.API.STREAM.NAMES", "", "LOG")},
		{"copy its records", n.hears("$KV.pipeline.>", func() {
			_ = acme.full.nc.Publish("$KV.pipeline.gateway.y", []byte("y"))
		})},
		{"delete a message of its log", func(as *Conn) bool {
			_ = acme.full.nc.Publish("log", []byte("a batch"))
			_ = acme.full.nc.Flush()
			return n.asks("$JS.API.STREAM.MSG.DELETE.LOG", `{"seq":1}`, `"success":true`)(as)
		}},
		{"purge its records", n.asks("$JS.API.STREAM.PURGE.KV_pipeline", "", `"success":true`)},
		{"delete its records", n.asks("$JS.API.STREAM.DELETE.KV_pipeline", "", `"success":true`)},
		{"delete its log", n.asks("$JS.API.STREAM.DELETE.LOG", "", `"success":true`)},
	} {
		if a.try(n.attacker) {
			t.Errorf("a pipeline can %s", a.what)
		}
		if !a.try(acme.full) {
			t.Errorf("nobody can %s: the refusal means nothing", a.what)
		}
	}
}

// TestRepliesReachOnlyTheOwnAccount is what NATS does not refuse: a reply subject is not checked against the sender's
// permissions, so a pipeline can have the server's answer put where it may not publish itself, within its own account. It
// must not be carried out as a request of the API, and nothing of it leaves the account. (It can overwrite the records of
// its own account so, which harms its own provider alone.)
func TestRepliesReachOnlyTheOwnAccount(t *testing.T) {
	onEveryServer(t, repliesReachOnlyTheOwnAccount)
}

func repliesReachOnlyTheOwnAccount(t *testing.T, h *house) {
	t.Helper()
	n := newNeighbours(t, h)
	for _, c := range []struct {
		who     string
		streams func(stream string) func() bool
	}{
		{"acme", func(stream string) func() bool { return holds(t, n.acme.full, stream, "of acme") }},
		{"bolt", func(stream string) func() bool { return holds(t, n.bolt.full, stream, "of bolt") }},
	} {
		for _, reply := range []string{
			"$JS.API.STREAM.DELETE.KV_pipeline", "$JS.API.STREAM.PURGE.KV_pipeline", "$JS.API.STREAM.DELETE.REJECTS",
			"$JS.API.ACCOUNT.PURGE." + n.bolt.key, "$SYS.REQ.CLAIMS.DELETE",
		} {
			_ = n.attacker.nc.PublishRequest("$JS.API.STREAM.INFO.LOG", reply, nil)
			_ = n.attacker.nc.PublishRequest("log", reply, []byte("x"))
		}
		_ = n.attacker.nc.Flush()
		if n.comes(n.attacker, lacks(c.streams("KV_pipeline"))) || n.comes(n.attacker, lacks(c.streams("REJECTS"))) {
			t.Errorf("a reply was carried out as a request, and what %s had is gone", c.who)
		}
	}
	records := must(n.bolt.full.Bucket(t.Context(), BucketOptions{Name: "pipeline"}))(t)
	_ = n.attacker.nc.PublishRequest("$JS.API.DIRECT.GET.REJECTS", "$KV.pipeline.pipeline", []byte(`{"seq":1}`))
	_ = n.attacker.nc.Flush()
	if n.comes(n.attacker, func() bool {
		v, _, err := records.Get(t.Context(), "pipeline")
		return err != nil || string(v) != "record of bolt"
	}) {
		t.Error("a reply reached another's record")
	}
}

// TestForgedCredentialsOpenNothing tries to make more of a pipeline's credentials than was signed.
func TestForgedCredentialsOpenNothing(t *testing.T) {
	onEveryServer(t, forgedCredentialsOpenNothing)
}

func forgedCredentialsOpenNothing(t *testing.T, h *house) {
	t.Helper()
	n := newNeighbours(t, h)
	seed := must(nkeys.ParseDecoratedUserNKey(n.acme.credentials))(t)
	token := must(nkeys.ParseDecoratedJWT(n.acme.credentials))(t)
	claims := must(jwt.DecodeUserClaims(token))(t)
	own := must(nkeys.CreateAccount())(t)
	forge := func(change func(c *jwt.UserClaims)) Credentials {
		c := *claims
		change(&c)
		signed := must(c.Encode(own))(t)
		return must(jwt.FormatUserConfig(signed, must(seed.Seed())(t)))(t)
	}
	seedOf := func(kp nkeys.KeyPair) string { return string(must(kp.Seed())(t)) }
	bolt := string(n.bolt.credentials)
	boltSeed := seedOf(must(nkeys.ParseDecoratedUserNKey(n.bolt.credentials))(t))
	if !strings.Contains(bolt, boltSeed) {
		t.Fatal("the credentials do not hold their key as text")
	}
	for what, credentials := range map[string]Credentials{
		"signed by an account of its own":          forge(func(*jwt.UserClaims) {}),
		"signed in the other account's name":       forge(func(c *jwt.UserClaims) { c.IssuerAccount = n.bolt.key }),
		"without permissions to keep to":           forge(func(c *jwt.UserClaims) { c.Permissions = jwt.Permissions{} }),
		"the other's claims with a key of its own": []byte(strings.Replace(bolt, boltSeed, seedOf(must(nkeys.CreateUser())(t)), 1)),
		"the other's claims with the own key":      []byte(strings.Replace(bolt, boltSeed, seedOf(seed), 1)),
	} {
		ctx, cancel := context.WithTimeout(t.Context(), refusal)
		conn, err := Connect(ctx, Options{URL: n.url(), Credentials: credentials, Name: "forged", Logger: logger(t)})
		cancel()
		if err == nil {
			conn.Close()
			t.Errorf("credentials %s are accepted", what)
		} else if !schema.Is(err, schema.Unauthorized) && !errors.Is(err, context.DeadlineExceeded) {
			t.Logf("credentials %s: %v", what, err)
		}
	}
	n.connect(n.acme.credentials) // the true ones are
}
