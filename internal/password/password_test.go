package password

import (
	"context"
	"strings"
	"testing"
	"time"

	"berth/schema"
)

func TestAPasswordMatchesItsHashAlone(t *testing.T) {
	h := NewHasher(2, 2)
	const good = "Grüße vom Kai 7, 码头"
	hash, err := h.Hash(t.Context(), good)
	if err != nil || !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatal(hash, err)
	}
	again, _ := h.Hash(t.Context(), good)
	if hash == again {
		t.Error("two hashes have one salt")
	}
	for _, c := range []struct {
		password, hash string
		want           bool
	}{
		{good, hash, true},
		{good + " ", hash, false},
		{strings.ToLower(good), hash, false},
		{"", hash, false},
		{good, "", false},
		{strings.Repeat("x", Most+1), hash, false},
	} {
		if got, err := h.Matches(t.Context(), c.password, c.hash); got != c.want || err != nil {
			t.Errorf("%q matches %q: %v, %v", c.password, c.hash, got, err)
		}
	}
	if _, err := h.Matches(t.Context(), good, "plain"); err == nil {
		t.Error("a hash that is none was taken")
	}
}

// More than may wait are refused at once; who waits goes when its context ends.
func TestAFewAtATime(t *testing.T) {
	h := NewHasher(1, 1)
	h.waiting <- struct{}{}
	h.running <- struct{}{} // one is being hashed
	ctx, cancel := context.WithCancel(t.Context())
	waits := make(chan error)
	go func() {
		_, err := h.Hash(ctx, "x")
		waits <- err
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for limit := time.After(10 * time.Second); len(h.waiting) < 2; {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("nobody waits")
		}
	}
	if _, err := h.Matches(t.Context(), "x", ""); !schema.Is(err, schema.Limited) {
		t.Errorf("one more than may wait: %v", err)
	}
	cancel()
	if err := <-waits; err == nil {
		t.Error("who waits outlived its context")
	}
	<-h.running
	<-h.waiting
	if _, err := h.Hash(t.Context(), "x"); err != nil {
		t.Errorf("the place was not given back: %v", err)
	}
}

func TestCheck(t *testing.T) {
	for password, ok := range map[string]bool{
		"correct horse battery staple": true,
		"vier Boote am Kai":            true,
		"一只猫在码头上看着远方的船慢慢离开":            true,
		"short":                      false,
		"fourteen chars":             false,
		strings.Repeat("ab", 10):     false,
		"123456789012345678":         false,
		"abcdefghijklmnopqrstuvwxyz": false,
		"passwordpassword1":          false,
		"Password1234567890":         false,
		"qwertyuiopasdfghjkl":        false,
		"jane.doe jane.doe1":         false,
		"harbour-7harbour-7":         false,
		strings.Repeat("long ", 60):  false,
		"no text \xff\xfe at all":    false,
	} {
		if err := Check(password, "jane.doe", "harbour-7"); (err == nil) != ok {
			t.Errorf("%q: %v", password, err)
		}
	}
}
