// Package people keeps who may do what: people, the one-time links by which they come, API tokens, and links that show one
// report to whoever has them, in the house's buckets. Who may change whom is left to its callers.
//
// Its one invariant: no secret is kept in clear, and every change is checked against the revision that was read.
package people

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/internal/bus"
	"berth/internal/credentials"
	"berth/schema"
	"berth/schema/record"
)

// LinkLife is how long a one-time link may wait to be used.
const LinkLife = 24 * time.Hour

// Bounds of what one provider may have, so that no page and no list grows without end.
const (
	MostPeople = 1000
	MostTokens = 1000
)

// Book is the house's people, links, tokens and shares. Its methods may be called concurrently.
type Book struct {
	people, links, tokens, shares *bus.Bucket
	now                           func() time.Time
}

// Open opens the buckets, which exist.
func Open(ctx context.Context, conn *bus.Conn, now func() time.Time) (*Book, error) {
	b := &Book{now: now}
	for name, at := range map[string]**bus.Bucket{"people": &b.people, "links": &b.links, "tokens": &b.tokens, "shares": &b.shares} {
		bucket, err := conn.Bucket(ctx, bus.BucketOptions{Name: name})
		if err != nil {
			return nil, fmt.Errorf("open the house's records: %w", err)
		}
		*at = bucket
	}
	return b, nil
}

// Key returns the key of a person's record: two names that differ in case alone are one.
func Key(name string) string { return credentials.Hash(strings.ToLower(name)) }

// Person returns a person and the revision of the record, or NotFound.
func (b *Book) Person(ctx context.Context, name string) (record.Person, uint64, error) {
	var p record.Person
	value, revision, err := b.people.Get(ctx, Key(name))
	if schema.Is(err, schema.NotFound) {
		return p, 0, schema.Errorf(schema.NotFound, "there is nobody called %s", name)
	}
	if err != nil {
		return p, 0, err
	}
	return p, revision, decode("a person", value, &p)
}

// People returns those of a provider in order of their names; "" are the operators.
func (b *Book) People(ctx context.Context, provider string) ([]record.Person, error) {
	all, err := b.people.List(ctx)
	if err != nil {
		return nil, err
	}
	var out []record.Person
	for _, e := range all {
		var p record.Person
		if err := decode("a person", e.Value, &p); err != nil {
			return nil, err
		}
		if p.Provider == provider {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b record.Person) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// Add keeps somebody new, or returns Conflict when the name is taken, Limited when the provider has too many.
func (b *Book) Add(ctx context.Context, p record.Person) error {
	if err := record.CheckPersonName(p.Name); err != nil {
		return err
	}
	others, err := b.People(ctx, p.Provider)
	if err != nil {
		return err
	}
	if len(others) >= MostPeople {
		return schema.Errorf(schema.Limited, "there are %d people already", len(others)).WithNext("remove some first")
	}
	p.Version, p.Created, p.Changed = record.Version, b.now().UTC(), b.now().UTC()
	data, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("write a person: %w", err)
	}
	_, err = b.people.Create(ctx, Key(p.Name), data)
	if schema.Is(err, schema.Conflict) {
		return schema.Errorf(schema.Conflict, "the name %s is taken", p.Name).WithNext("choose another name")
	}
	return err
}

// Change changes a person's record by fn, or returns NotFound, or Conflict when somebody else does so at the same time.
func (b *Book) Change(ctx context.Context, name string, fn func(p *record.Person) error) error {
	p, revision, err := b.Person(ctx, name)
	if err != nil {
		return err
	}
	if err := fn(&p); err != nil {
		return err
	}
	data, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("write a person: %w", err)
	}
	_, err = b.people.Update(ctx, Key(name), data, revision)
	return err
}

// Remove removes a person, or finds them gone. Their sessions end with them.
func (b *Book) Remove(ctx context.Context, name string) error { return b.people.Delete(ctx, Key(name)) }

// DropKeys ends all that opens something of a provider: tokens, links, shares and people.
func (b *Book) DropKeys(ctx context.Context, provider string) error {
	if err := drop(ctx, b.tokens, func(t record.Token) bool { return t.Provider == provider }); err != nil {
		return err
	}
	if err := drop(ctx, b.shares, func(s record.Share) bool { return s.Provider == provider }); err != nil {
		return err
	}
	if err := drop(ctx, b.people, func(p record.Person) bool { return p.Provider == provider }); err != nil {
		return err
	}
	return drop(ctx, b.links, func(l record.Link) bool { return l.Provider == provider })
}

// drop removes the records that bad reports. One that cannot be read opens nothing, and stays for who can read it.
func drop[T any](ctx context.Context, b *bus.Bucket, bad func(T) bool) error {
	all, err := b.List(ctx)
	if err != nil {
		return err
	}
	for key, e := range all {
		var v T
		if json.Unmarshal(e.Value, &v) != nil || !bad(v) {
			continue
		}
		if err := b.Delete(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

func put(ctx context.Context, b *bus.Bucket, key string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write a record: %w", err)
	}
	_, err = b.Put(ctx, key, data)
	return err
}

func decode(what string, data []byte, v any) error {
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("read %s: %w", what, err)
	}
	return nil
}
