package credentials_test

import (
	"bytes"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"berth/internal/credentials"
	"berth/schema"
)

func TestNewKeyIsLongRandomAndPlain(t *testing.T) {
	form := regexp.MustCompile(`^bk_[a-z2-7]{32}$`)
	seen := map[string]bool{}
	for range 1000 {
		k := credentials.NewKey("bk_")
		if !form.MatchString(k) {
			t.Fatalf("key %q does not match %v", k, form)
		}
		if seen[k] {
			t.Fatalf("key %q came twice", k)
		}
		seen[k] = true
	}
}

func TestMatches(t *testing.T) {
	const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // FIPS 180-2, appendix B.1
	if got := credentials.Hash("abc"); got != abc {
		t.Errorf("Hash(abc) = %s, want %s", got, abc)
	}
	for _, c := range []struct {
		key, hash string
		want      bool
	}{
		{"abc", abc, true},
		{"abd", abc, false},
		{"", credentials.Hash(""), false},
		{"abc", "", false},
		{"abc", abc[:10], false},
		{"abc", "BA" + abc[2:], false},
	} {
		if got := credentials.Matches(c.key, c.hash); got != c.want {
			t.Errorf("Matches(%q, %q) = %v, want %v", c.key, c.hash, got, c.want)
		}
	}
}

func TestSealOpensOnlyUnchangedWithItsSecret(t *testing.T) {
	secret, other := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	sealed, err := credentials.Seal(secret, []byte("bk_secret"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("secret")) {
		t.Fatal("the sealed form shows the plain one")
	}
	if plain, err := credentials.Open(secret, sealed); err != nil || string(plain) != "bk_secret" {
		t.Fatalf("Open = %q, %v", plain, err)
	}
	if _, err := credentials.Open(other, sealed); !schema.Is(err, schema.Invalid) {
		t.Errorf("another secret: %v, want Invalid", err)
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 0x40
		if _, err := credentials.Open(secret, changed); !schema.Is(err, schema.Invalid) {
			t.Fatalf("byte %d changed: %v, want Invalid", i, err)
		}
		if _, err := credentials.Open(secret, sealed[:i]); !schema.Is(err, schema.Invalid) {
			t.Fatalf("cut at %d: %v, want Invalid", i, err)
		}
	}
	if _, err := credentials.Seal(secret[:31], nil); !schema.Is(err, schema.Invalid) {
		t.Errorf("a short secret: %v, want Invalid", err)
	}
}

func TestLoadSecretMakesItOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "secret")
	secrets := make([][]byte, 8)
	var wg sync.WaitGroup
	for i := range secrets {
		wg.Go(func() {
			s, err := credentials.LoadSecret(path)
			if err != nil {
				t.Error(err)
			}
			secrets[i] = s
		})
	}
	wg.Wait()
	for _, s := range secrets {
		if len(s) != credentials.SecretSize || !bytes.Equal(s, secrets[0]) {
			t.Fatalf("secrets differ: %x and %x", s, secrets[0])
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".secret-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := credentials.LoadSecret(path); !schema.Is(err, schema.Invalid) {
		t.Errorf("a damaged secret: %v, want Invalid", err)
	}
}

func TestVerify(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	signed := func() *http.Request {
		// Signed as a client's request, verified as the server's.
		c, err := http.NewRequestWithContext(t.Context(), "", "http://reports/api/v1/gateways/a%2Fb?from=now-6h&x=%20", nil)
		if err != nil {
			t.Fatal(err)
		}
		credentials.Sign(c, "token", now)
		s := httptest.NewRequest(http.MethodGet, c.URL.RequestURI(), nil)
		s.Header = c.Header
		return s
	}
	for _, c := range []struct {
		name   string
		change func(r *http.Request)
		token  string
		after  time.Duration
		ok     bool
	}{
		{name: "as signed", token: "token", ok: true},
		{name: "a minute later", token: "token", after: time.Minute, ok: true},
		{name: "a minute before", token: "token", after: -time.Minute, ok: true},
		{name: "too late", token: "token", after: time.Minute + time.Millisecond},
		{name: "too early", token: "token", after: -time.Minute - time.Millisecond},
		{name: "another token", token: "other"},
		{name: "no token", token: ""},
		{name: "another method", token: "token", change: func(r *http.Request) { r.Method = http.MethodPost }},
		{name: "another path", token: "token", change: func(r *http.Request) { r.URL.Path, r.URL.RawPath = "/api/v1/gateways/a/b", "" }},
		{name: "another query", token: "token", change: func(r *http.Request) { r.URL.RawQuery = "from=now-7h" }},
		{name: "no signature", token: "token", change: func(r *http.Request) { r.Header.Del(credentials.SignatureHeader) }},
		{name: "no hex", token: "token", change: func(r *http.Request) { r.Header.Set(credentials.SignatureHeader, "1.zz") }},
		{name: "another time", token: "token", change: func(r *http.Request) {
			h := r.Header.Get(credentials.SignatureHeader)
			r.Header.Set(credentials.SignatureHeader, "2"+h[1:])
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := signed()
			if c.change != nil {
				c.change(r)
			}
			err := credentials.Verify(r, c.token, now.Add(c.after))
			if c.ok != (err == nil) || err != nil && !schema.Is(err, schema.Unauthorized) {
				t.Errorf("Verify = %v, want ok %v", err, c.ok)
			}
		})
	}
}

// TestThePipelinesSecretIsOneProviders: what is sealed for one provider another cannot open.
func TestThePipelinesSecretIsOneProviders(t *testing.T) {
	house, other := bytes.Repeat([]byte{1}, credentials.SecretSize), bytes.Repeat([]byte{2}, credentials.SecretSize)
	sealed, err := credentials.Seal(credentials.PipelineSecret(house, "provider1"), []byte("key"))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := credentials.Open(credentials.PipelineSecret(house, "provider1"), sealed); err != nil || string(plain) != "key" {
		t.Errorf("opened %q, %v", plain, err)
	}
	for name, secret := range map[string][]byte{"another provider": credentials.PipelineSecret(house, "provider2"), "another house": credentials.PipelineSecret(other, "provider1"), "the house itself": house} {
		if plain, err := credentials.Open(secret, sealed); err == nil {
			t.Errorf("%s opens %q", name, plain)
		}
	}
	// What is stored was sealed by it: it must stay.
	if got := hex.EncodeToString(credentials.PipelineSecret(house, "provider1")[:8]); got != "d2675823274c1163" {
		t.Errorf("the secret has become another: %s", got)
	}
}
