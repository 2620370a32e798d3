package gateways

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"

	"berth/schema"
)

// The packets of MQTT that a publishing gateway needs, by their first byte.
const (
	mqttConnect = 0x10
	mqttConnack = 0x20
	mqttPublish = 0x32 // at QoS 1
	mqttPuback  = 0x40
)

// speakMQTT3 publishes by MQTT 3.1.1, speakMQTT5 by MQTT 5, both at QoS 1, up to the window without waiting. They write the
// packets themselves, so that what ingest reads by a codec is not written by the same.
func (f *Fleet) speakMQTT3(ctx context.Context, g *gateway) error { return f.speakMQTT(ctx, g, 4) }

func (f *Fleet) speakMQTT5(ctx context.Context, g *gateway) error { return f.speakMQTT(ctx, g, 5) }

func (f *Fleet) speakMQTT(ctx context.Context, g *gateway, level byte) error {
	topic := "readings/" + g.name
	return f.converse(ctx, g, dialect{
		hello: func(ctx context.Context, conn net.Conn, in *bufio.Reader) error {
			if _, err := conn.Write(f.connectPacket(g, level)); err != nil {
				return fmt.Errorf("say CONNECT: %w", err)
			}
			first, body, err := readPacket(ctx, conn, in)
			if err != nil {
				return fmt.Errorf("wait for CONNACK: %w", err)
			}
			if first != mqttConnack || len(body) < 2 || body[1] != 0 {
				return fmt.Errorf("CONNECT was answered %x %x", first, body)
			}
			return nil
		},
		put: func(out *bufio.Writer, number int64, payload []byte) {
			head := appendText(nil, topic)
			head = binary.BigEndian.AppendUint16(head, packetID(number))
			if level == 5 {
				head = append(head, 0) // no properties
			}
			_ = out.WriteByte(mqttPublish) // an error stays with the writer
			_, _ = out.Write(appendLength(nil, len(head)+len(payload)))
			_, _ = out.Write(head)
			_, _ = out.Write(payload)
		},
		acked: func(ctx context.Context, conn net.Conn, in *bufio.Reader, before int64) (int64, error) {
			first, body, err := readPacket(ctx, conn, in)
			if err != nil {
				return 0, err
			}
			if first != mqttPuback || len(body) < 2 || len(body) > 2 && body[2] != 0 {
				return 0, schema.Errorf(schema.Invalid, "a message was answered %x %x", first, body)
			}
			if id := binary.BigEndian.Uint16(body); id != packetID(before+1) {
				return 0, schema.Errorf(schema.Invalid, "message %d is acknowledged when it was %d's turn", id, packetID(before+1))
			}
			return before + 1, nil
		},
	})
}

// packetID returns the packet identifier of a frame: 1 to 65535, again and again.
func packetID(number int64) uint16 { return uint16((number-1)%0xffff) + 1 }

// connectPacket returns the CONNECT of a gateway: a clean session, no keep-alive.
func (f *Fleet) connectPacket(g *gateway, level byte) []byte {
	body := appendText(nil, "MQTT")
	body = append(body, level, 0xc2, 0, 0) // user name, password, clean
	if level == 5 {
		body = append(body, 0) // no properties
	}
	for _, text := range []string{g.name, g.name, f.options.Key} {
		body = appendText(body, text)
	}
	return append(appendLength([]byte{mqttConnect}, len(body)), body...)
}

func appendText(dst []byte, text string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(text))), text...)
}

// appendLength appends a remaining length.
func appendLength(dst []byte, n int) []byte {
	for ; n >= 0x80; n >>= 7 {
		dst = append(dst, byte(n)|0x80)
	}
	return append(dst, byte(n))
}

// readPacket reads a packet of the server's, which is short.
func readPacket(ctx context.Context, conn net.Conn, in *bufio.Reader) (first byte, body []byte, err error) {
	if err := patience(ctx, conn, in); err != nil {
		return 0, nil, err
	}
	if first, err = in.ReadByte(); err != nil {
		return 0, nil, err
	}
	n, err := binary.ReadUvarint(in)
	if err != nil {
		return 0, nil, err
	}
	if n > 4<<10 {
		return 0, nil, schema.Errorf(schema.Invalid, "a packet of %d bytes is answered", n)
	}
	body = make([]byte, n)
	_, err = io.ReadFull(in, body)
	return first, body, err
}
