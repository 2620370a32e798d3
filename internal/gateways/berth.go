package gateways

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"time"

	"berth/schema"
)

const (
	dialLimit   = 5 * time.Second
	answerLimit = 60 * time.Second // without any answer the connection is given up and made again
)

// window is what a connection has sent and not yet had acknowledged: the sender waits for room, the receiver makes it.
type window struct {
	sentAt chan time.Time // one for each frame in flight, in order: its capacity is the window
}

// speakBerth sends Berth frames on one connection: HELLO, then PUTs without waiting, up to the window; sequence numbers
// count from 1 on each connection. It returns nil when all frames are acknowledged.
func (f *Fleet) speakBerth(ctx context.Context, g *gateway) error {
	return f.converse(ctx, g, dialect{
		hello: func(ctx context.Context, conn net.Conn, in *bufio.Reader) error {
			if _, err := fmt.Fprintf(conn, "HELLO %s %s\n", g.name, f.options.Key); err != nil {
				return fmt.Errorf("say hello: %w", err)
			}
			answer, err := f.readLine(ctx, conn, in)
			if err != nil {
				return fmt.Errorf("wait for the answer to hello: %w", err)
			}
			if string(answer) != "OK" {
				return fmt.Errorf("hello was answered %q", answer)
			}
			return nil
		},
		put: func(out *bufio.Writer, number int64, payload []byte) {
			_, _ = fmt.Fprintf(out, "PUT %d %s %d\n", number, f.options.Format, len(payload)) // an error stays with the writer
			_, _ = out.Write(payload)
		},
		acked: func(ctx context.Context, conn net.Conn, in *bufio.Reader, _ int64) (int64, error) {
			line, err := f.readLine(ctx, conn, in)
			if err != nil {
				return 0, err
			}
			number, ok := bytes.CutPrefix(line, []byte("ACK "))
			if !ok {
				return 0, schema.Errorf(schema.Invalid, "a frame was answered %q", line)
			}
			return strconv.ParseInt(string(number), 10, 64)
		},
	})
}

// dialect is what differs between protocols in which frames are sent without waiting and acknowledged in order. Frames are
// numbered from 1 on each connection.
type dialect struct {
	hello func(ctx context.Context, conn net.Conn, in *bufio.Reader) error
	put   func(out *bufio.Writer, number int64, payload []byte) // an error stays with the writer
	// acked reads an answer and returns the number of the last frame that is acknowledged, when those before were.
	acked func(ctx context.Context, conn net.Conn, in *bufio.Reader, before int64) (int64, error)
}

// dial connects, by TLS if the options say so.
func (f *Fleet) dial(ctx context.Context) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialLimit}
	if f.options.TLS == nil {
		return dialer.DialContext(ctx, "tcp", f.options.Address)
	}
	return (&tls.Dialer{NetDialer: &dialer, Config: f.options.TLS}).DialContext(ctx, "tcp", f.options.Address)
}

// converse sends frames on one connection until all are acknowledged, and then returns nil.
func (f *Fleet) converse(ctx context.Context, g *gateway, d dialect) error {
	conn, err := f.dial(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close() //nolint:errcheck // what matters was acknowledged
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	in := bufio.NewReaderSize(conn, 512)
	if err := d.hello(ctx, conn, in); err != nil {
		return err
	}
	first := g.acked.Load()
	w := window{sentAt: make(chan time.Time, f.options.Window)}
	failed := make(chan error, 1)
	sendCtx, cancel := context.WithCancel(ctx)
	go func() {
		failed <- f.sendFrames(sendCtx, conn, g, first, w, d)
	}()
	err = f.receiveAcks(ctx, conn, in, g, first, w, d)
	cancel()
	_ = conn.SetDeadline(time.Unix(1, 0)) // ends a write that hangs
	if sendErr := <-failed; err == nil {
		err = sendErr
	}
	return err
}

// sendFrames sends frames from the given one on until the fleet is done or ctx ends. Frames that are ready go out in
// one write.
func (f *Fleet) sendFrames(ctx context.Context, conn net.Conn, g *gateway, frame int64, w window, d dialect) error {
	var pace *time.Ticker
	if f.options.Rate > 0 {
		pace = time.NewTicker(time.Duration(float64(time.Second) / f.options.Rate))
		defer pace.Stop()
	}
	first := frame
	out := bufio.NewWriterSize(conn, 16<<10)
	var payload []byte
	for ; !f.done(frame); frame++ {
		if pace != nil {
			select {
			case <-ctx.Done():
				return nil
			case <-pace.C:
			}
		}
		select {
		case w.sentAt <- time.Now():
		default: // the window is full: what is buffered must go before waiting for an answer
			if err := out.Flush(); err != nil {
				return fmt.Errorf("send: %w", err)
			}
			select {
			case <-ctx.Done():
				return nil
			case w.sentAt <- time.Now():
			}
		}
		if frame < g.sent.Load() {
			g.again.Add(1)
		} else {
			g.sent.Store(frame + 1)
		}
		payload = f.appendFrame(payload[:0], g, frame)
		d.put(out, frame-first+1, payload)
		if pace != nil {
			if err := out.Flush(); err != nil {
				return fmt.Errorf("send: %w", err)
			}
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// receiveAcks reads answers until the fleet is done (nil) or the connection fails.
func (f *Fleet) receiveAcks(ctx context.Context, conn net.Conn, in *bufio.Reader, g *gateway, first int64, w window, d dialect) error {
	for !f.done(g.acked.Load()) {
		upTo, err := d.acked(ctx, conn, in, g.acked.Load()-first)
		if err != nil {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // the fleet was told to stop
			}
			return fmt.Errorf("wait for an acknowledgement: %w", err)
		}
		now := time.Now()
		for acked := g.acked.Load(); acked < first+upTo; acked++ {
			select {
			case sent := <-w.sentAt:
				f.latency.add(now.Sub(sent))
			default:
				return schema.Errorf(schema.Invalid, "frame %d is acknowledged and was not sent", upTo)
			}
			g.acked.Store(acked + 1)
		}
	}
	return nil
}

// patience gives an answer its time. It ends when ctx ends: what ends ctx has set a deadline in the past, which must not be
// lifted.
func patience(ctx context.Context, conn net.Conn, in *bufio.Reader) error {
	if in.Buffered() > 0 {
		return nil
	}
	if err := conn.SetReadDeadline(time.Now().Add(answerLimit)); err != nil {
		return err
	}
	return ctx.Err()
}

// readLine reads one answer without its line end.
func (f *Fleet) readLine(ctx context.Context, conn net.Conn, in *bufio.Reader) ([]byte, error) {
	if err := patience(ctx, conn, in); err != nil {
		return nil, err
	}
	line, err := in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	return bytes.TrimRight(line, "\r\n"), nil
}
