package bus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"berth/internal/durable"
)

// identity is a key and what its superior signed about it.
type identity struct {
	Public string `json:"public"`
	Seed   string `json:"seed"`
	JWT    string `json:"jwt"`
}

// account is an account with its users, as it is kept.
type account struct {
	Version int                 `json:"version"`
	Name    string              `json:"name"`
	Key     identity            `json:"key"`
	Users   map[string]identity `json:"users"`
	Revoked map[string]int64    `json:"revoked,omitempty"` // public keys of former users, and when, in Unix seconds
}

// accountSpec says what an account and its users must be.
type accountSpec struct {
	name   string
	limits jwt.OperatorLimits
	users  map[string]jwt.Permissions
}

func (i *identity) pair() (nkeys.KeyPair, error) {
	kp, err := nkeys.FromSeed([]byte(i.Seed))
	if err != nil {
		return nil, fmt.Errorf("read a kept key: %w", err)
	}
	return kp, nil
}

// ensureKey makes the key if there is none.
func (i *identity) ensureKey(create func() (nkeys.KeyPair, error), changed *bool) error {
	if i.Seed != "" {
		return nil
	}
	kp, err := create()
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	seed, err := kp.Seed()
	if err != nil {
		return fmt.Errorf("read a new key: %w", err)
	}
	public, err := kp.PublicKey()
	if err != nil {
		return fmt.Errorf("read a new key: %w", err)
	}
	*i = identity{Public: public, Seed: string(seed)}
	*changed = true
	return nil
}

// ensure makes the account what spec says. Keys stay; what was signed stays while it says the same, so that
// credentials change only when permissions do.
func (a *account) ensure(operator nkeys.KeyPair, spec accountSpec, changed *bool) error {
	if err := a.Key.ensureKey(nkeys.CreateAccount, changed); err != nil {
		return err
	}
	if a.Users == nil {
		a.Users = map[string]identity{}
	}
	if a.Name != spec.name || a.Version != authorityVersion {
		a.Name, a.Version, *changed = spec.name, authorityVersion, true
	}
	old, err := jwt.DecodeAccountClaims(a.Key.JWT)
	if err != nil || !equalJSON(old.Limits, spec.limits) || len(old.Revocations) != len(a.Revoked) {
		claims := jwt.NewAccountClaims(a.Key.Public)
		claims.Name = spec.name
		claims.Limits = spec.limits
		for key, at := range a.Revoked {
			claims.RevokeAt(key, time.Unix(at, 0))
		}
		if a.Key.JWT, err = claims.Encode(operator); err != nil {
			return fmt.Errorf("sign account %s: %w", spec.name, err)
		}
		*changed = true
	}
	for name, permissions := range spec.users {
		user := a.Users[name]
		if err := a.ensureUser(&user, name, permissions, changed); err != nil {
			return err
		}
		a.Users[name] = user
	}
	return nil
}

func (a *account) ensureUser(u *identity, name string, permissions jwt.Permissions, changed *bool) error {
	if err := u.ensureKey(nkeys.CreateUser, changed); err != nil {
		return err
	}
	if old, err := jwt.DecodeUserClaims(u.JWT); err == nil && equalJSON(old.Permissions, permissions) {
		return nil
	}
	kp, err := a.Key.pair()
	if err != nil {
		return err
	}
	claims := jwt.NewUserClaims(u.Public)
	claims.Name = name
	claims.Permissions = permissions
	if u.JWT, err = claims.Encode(kp); err != nil {
		return fmt.Errorf("sign user %s: %w", name, err)
	}
	*changed = true
	return nil
}

// credentials returns the credentials of one of the account's users.
func (a *account) credentials(user string) Credentials {
	u := a.Users[user]
	text, err := jwt.FormatUserConfig(u.JWT, []byte(u.Seed))
	if err != nil {
		return nil
	}
	return text
}

func equalJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

func readJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// writeJSON writes v to path so that after a power cut there is either the old file or the new one, whole.
func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return durable.WriteFile(path, data)
}
