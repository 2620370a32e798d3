package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"berth/schema"
)

func TestAskStreams(t *testing.T) {
	h := newHouse(t)
	_, ingest := h.provider("acme", LogOptions{})
	_, limited, _, _ := h.authority.Provider("acme")
	reports := h.connect(limited)
	big := bytes.Repeat([]byte("abcdefgh"), 3<<20/8)
	stop := must(ingest.Answer("head.parts", func(_ context.Context, q []byte, reply func([]byte) error) error {
		for i := range 200 {
			if err := reply(fmt.Appendf(nil, "%s %d", q, i)); err != nil {
				return err
			}
		}
		for range 3 {
			if err := reply(big); err != nil {
				return err
			}
		}
		return reply(nil)
	}))(t)
	defer stop()
	var chunks [][]byte
	if err := reports.Ask(t.Context(), "head.parts", []byte("q"), func(c []byte) error {
		chunks = append(chunks, c)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(chunks) != 204 || string(chunks[199]) != "q 199" || !bytes.Equal(chunks[202], big) || len(chunks[203]) != 0 {
		t.Errorf("%d chunks came", len(chunks))
	}
}

// TestAskerHoldsTheAnswerBack shows that an answer waits for a slow asker instead of filling memory.
func TestAskerHoldsTheAnswerBack(t *testing.T) {
	h := newHouse(t)
	_, ingest := h.provider("acme", LogOptions{})
	chunk := make([]byte, 100_000)
	sent, ended := make(chan int, 10_000), make(chan error, 1)
	stop := must(ingest.Answer("head.parts", func(_ context.Context, _ []byte, reply func([]byte) error) error {
		for i := range 1_000 {
			if err := reply(chunk); err != nil {
				ended <- err
				return err
			}
			sent <- i
		}
		return nil
	}))(t)
	defer stop()
	enough := errors.New("enough")
	err := ingest.Ask(t.Context(), "head.parts", nil, func([]byte) error {
		if err := ingest.Ping(t.Context()); err != nil {
			return err
		}
		soon(t, "the window fills", func() bool { return len(sent) >= answerWindow/len(chunk) })
		return enough
	})
	if !errors.Is(err, enough) {
		t.Errorf("ask returned %v", err)
	}
	if err := <-ended; err == nil {
		t.Error("the answer went on without its asker")
	}
	if n := len(sent) * len(chunk); n > answerWindow {
		t.Errorf("%d bytes were sent to an asker that took none", n)
	}
}

func TestAskErrors(t *testing.T) {
	h := newHouse(t)
	_, c := h.provider("acme", LogOptions{})
	none := func([]byte) error { return nil }
	if err := c.Ask(t.Context(), "head.parts", nil, none); !schema.Is(err, schema.Unavailable) {
		t.Errorf("nobody there: %v", err)
	}
	hold := make(chan struct{})
	stop := must(c.Answer("head.*", func(ctx context.Context, q []byte, reply func([]byte) error) error {
		switch string(q) {
		case "known":
			return schema.Errorf(schema.NotFound, "there is no gateway x").WithNext("name another").WithCause(errors.New("secret"))
		case "unknown":
			return errors.New("secret")
		default:
			if err := reply([]byte("begun")); err != nil {
				return err
			}
			close(hold)
			<-ctx.Done()
			return ctx.Err()
		}
	}))(t)
	err := c.Ask(t.Context(), "head.x", []byte("known"), none)
	if !schema.Is(err, schema.NotFound) || schema.Show(err) != "there is no gateway x; name another" {
		t.Errorf("a known error: %v", err)
	}
	if err := c.Ask(t.Context(), "head.x", []byte("unknown"), none); !schema.Is(err, schema.Internal) || bytes.Contains([]byte(err.Error()), []byte("secret")) {
		t.Errorf("an unknown error: %v", err)
	}
	asked := make(chan error, 1)
	go func() { asked <- c.Ask(t.Context(), "head.x", []byte("hold"), none) }()
	<-hold
	stop()
	if err := <-asked; !schema.Is(err, schema.Unavailable) {
		t.Errorf("an answer that was stopped: %v", err)
	}
}

// TestAskEndsWithTheServer has the server go away in the middle of an answer.
func TestAskEndsWithTheServer(t *testing.T) {
	h := newHouse(t)
	_, c := h.provider("acme", LogOptions{})
	begun := make(chan struct{})
	stop := must(c.Answer("head.x", func(ctx context.Context, _ []byte, _ func([]byte) error) error {
		close(begun)
		<-ctx.Done()
		return ctx.Err()
	}))(t)
	defer stop()
	asked := make(chan error, 1)
	go func() { asked <- c.Ask(t.Context(), "head.x", nil, func([]byte) error { return nil }) }()
	<-begun
	h.restart()
	if err := <-asked; !schema.Is(err, schema.Unavailable) || !errors.Is(err, errServerAway) {
		t.Errorf("it ends with %v", err)
	}
}

func TestAskKeepsItsDeadline(t *testing.T) {
	h := newHouse(t)
	_, c := h.provider("acme", LogOptions{})
	gone := make(chan error, 1)
	var asked atomic.Bool
	stop := must(c.Answer("head.x", func(ctx context.Context, _ []byte, reply func([]byte) error) error {
		asked.Store(true)
		if err := reply(nil); err != nil {
			return err
		}
		<-ctx.Done()
		gone <- context.Cause(ctx)
		return ctx.Err()
	}))(t)
	defer stop()
	for limit := time.Second; !asked.Load() && limit < time.Minute; limit *= 2 { // until it is asked within its time
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		if err := c.Ask(ctx, "head.x", nil, func([]byte) error { return nil }); !schema.Is(err, schema.Unavailable) {
			t.Errorf("beyond the deadline: %v", err)
		}
		cancel()
	}
	if err := <-gone; !errors.Is(err, errAskerGone) {
		t.Errorf("the answer ended with %v", err)
	}
}
