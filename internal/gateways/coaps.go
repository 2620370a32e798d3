package gateways

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/pion/dtls/v3"
	dtlsnet "github.com/pion/dtls/v3/pkg/net"
)

// speakCoAPS posts frames as speakCoAP does, within DTLS, to which the fleet's pre-shared key is shown.
func (f *Fleet) speakCoAPS(ctx context.Context, g *gateway) error {
	identity := f.options.Identity
	if identity == "" {
		identity = g.name
	}
	conn, err := DialDTLS(ctx, f.options.Address, identity, f.options.PSK)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // what matters was acknowledged
	return f.postOver(ctx, g, conn, "")
}

// DialDTLS connects by DTLS 1.2 with a pre-shared key, as gateways do. What the client does in the background ends with the
// connection.
func DialDTLS(ctx context.Context, address, identity, key string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	udp, err := (&net.Dialer{}).DialContext(ctx, "udp", address)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	conn, err := dtls.ClientWithOptions(dtlsnet.PacketConnFromConn(udp), udp.RemoteAddr(),
		dtls.WithPSK(func([]byte) ([]byte, error) { return []byte(key), nil }), dtls.WithPSKIdentityHint([]byte(identity)),
		dtls.WithCipherSuites(dtls.TLS_PSK_WITH_AES_128_CCM_8))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("begin DTLS: %w", err), udp.Close())
	}
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("shake hands: %w", err), conn.Close(), udp.Close())
	}
	return conn, nil
}
