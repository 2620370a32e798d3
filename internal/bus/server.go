package bus

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"

	"berth/schema"
)

const (
	// startLimit bounds how long a server may take to read its streams back.
	startLimit = 2 * time.Minute
	readyStep  = 100 * time.Millisecond // at most so long a start that cannot succeed goes unnoticed
	// memoryLimit bounds the streams in memory, of all accounts together. It is a limit, not an allotment.
	memoryLimit = 16 << 30
	// defaultStoreLimit lies above the sum of all quotas; free disk is what must be watched.
	defaultStoreLimit = 16 << 40
)

// ServerOptions say how the embedded NATS server runs.
type ServerOptions struct {
	Dir        string       // where streams and accounts are kept
	Host       string       // the address to listen on; 127.0.0.1 when empty
	Port       int          // 0: any that is free
	Authority  *Authority   // knows the accounts
	TLS        bool         // it can be reached at further addresses by TLS, see [Server.Listen]
	StoreLimit int64        // bounds the sum of all streams' quotas, in bytes; 16 TiB when 0
	Logger     *slog.Logger // told of trouble
}

// Server is a NATS server within this process. JetStream syncs each message to disk before it confirms it.
type Server struct {
	nats      *server.Server
	authority *Authority
	system    *Conn
	jetstream server.JetStreamConfig
	host      string
	log       *slog.Logger
	stop      sync.Once
	unwell    unwell

	certificate *certificate // nil: it is not reached by TLS
	mu          sync.Mutex   // guards relays
	relays      []*relay
}

// StartServer starts a server and returns when it takes connections and all accounts of the authority are known to it.
func StartServer(o ServerOptions) (*Server, error) {
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	port := o.Port
	if port == 0 {
		port = server.RANDOM_PORT
	}
	if o.StoreLimit == 0 {
		o.StoreLimit = defaultStoreLimit
	}
	if err := repair(o.Dir, o.Logger); err != nil {
		return nil, err
	}
	resolver, err := o.Authority.resolver(filepath.Join(o.Dir, "accounts"))
	if err != nil {
		return nil, fmt.Errorf("write the accounts for the server: %w", err)
	}
	operator, err := jwt.DecodeOperatorClaims(o.Authority.operatorJWT())
	if err != nil {
		return nil, fmt.Errorf("read the operator's claims: %w", err)
	}
	options := &server.Options{
		ServerName:         "berth",
		Host:               o.Host,
		Port:               port,
		NoSigs:             true,
		MaxPayload:         maxPayload,
		PingInterval:       10 * time.Second,
		MaxPingsOut:        2,
		TrustedOperators:   []*jwt.OperatorClaims{operator},
		SystemAccount:      o.Authority.systemAccount(),
		AccountResolver:    resolver,
		JetStream:          true,
		StoreDir:           o.Dir,
		JetStreamMaxStore:  o.StoreLimit,
		JetStreamMaxMemory: memoryLimit,
		SyncAlways:         true,
	}
	s := &Server{authority: o.Authority, host: o.Host, log: o.Logger}
	if o.TLS {
		s.certificate = &certificate{authority: o.Authority}
		if err := s.certificate.add(o.Host); err != nil {
			return nil, err
		}
		options.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.certificate.get}
		options.AllowNonTLS = true // those of this machine need none
	}
	if s.nats, err = server.NewServer(options); err != nil {
		return nil, fmt.Errorf("set up the NATS server: %w", err)
	}
	if err := s.start(o); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

func (s *Server) start(o ServerOptions) error {
	fatal := make(chan string, 1)
	s.nats.SetLoggerV2(&natsLogger{log: o.Logger, fatal: fatal}, false, false, false)
	started := make(chan struct{})
	go func() {
		defer close(started)
		s.nats.Start() // reads the streams back before it returns
	}()
	limit := time.Now().Add(startLimit)
	for ready := false; !ready; ready = s.nats.ReadyForConnections(readyStep) {
		select {
		case text := <-fatal:
			<-started
			addr := net.JoinHostPort(o.Host, strconv.Itoa(o.Port))
			return schema.Errorf(schema.Unavailable, "the NATS server cannot run at %s: %s", addr, text).
				WithNext("free the address, or choose another port")
		default:
		}
		if time.Now().After(limit) {
			return schema.Errorf(schema.Unavailable, "the NATS server took no connections within %v", startLimit)
		}
	}
	if c := s.nats.JetStreamConfig(); c != nil {
		s.jetstream = *c
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	system, err := Connect(ctx, Options{
		URL: s.URL(), Credentials: s.authority.System(), Name: "authority", Logger: o.Logger, within: s.nats,
	})
	if err != nil {
		return fmt.Errorf("connect to the server's own system account: %w", err)
	}
	s.system = system
	s.authority.attach(system, s.jetstream.StoreDir)
	return nil
}

// URL returns where the server takes connections.
func (s *Server) URL() string {
	if addr, ok := s.nats.Addr().(*net.TCPAddr); ok {
		host := s.host
		if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
			host = "127.0.0.1"
		}
		return "nats://" + net.JoinHostPort(host, strconv.Itoa(addr.Port))
	}
	return ""
}

// Revive stops JetStream and starts it again from what is on disk, and has everybody connect anew. Nothing confirmed is
// lost, and streams in memory come back empty or not at all: prepare the accounts again. Who watches one of those would
// wait for the sequence that it had come to, which the new one reaches after as long a time; who reconnects reads anew.
func (s *Server) Revive() error {
	if err := s.nats.DisableJetStream(); err != nil {
		return fmt.Errorf("disable JetStream: %w", err)
	}
	c := s.jetstream
	c.StoreDir = filepath.Dir(c.StoreDir) // the configuration names the folder within
	if err := s.nats.EnableJetStream(&c); err != nil {
		return fmt.Errorf("enable JetStream: %w", err)
	}
	return s.reconnectAll()
}

// reconnectAll cuts all connections; they are made anew at once.
func (s *Server) reconnectAll() error {
	all, err := s.nats.Connz(&server.ConnzOptions{Limit: s.nats.NumClients() + 1_000})
	if err != nil {
		return fmt.Errorf("list connections: %w", err)
	}
	for _, c := range all.Conns {
		_ = s.nats.DisconnectClientByID(c.Cid) // it has gone by itself
	}
	return nil
}

// Stop disconnects everybody and returns when the server has ended. It may be called twice.
func (s *Server) Stop() {
	s.stop.Do(func() {
		s.mu.Lock()
		relays := s.relays
		s.mu.Unlock()
		for _, r := range relays {
			r.close()
		}
		if s.system != nil {
			s.authority.detach(s.system)
			s.system.Close()
		}
		s.nats.Shutdown()
		s.nats.WaitForShutdown()
		if r := s.nats.AccountResolver(); r != nil {
			r.Close()
		}
	})
}

// freshDir makes dir anew, empty.
func freshDir(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("clear %s: %w", dir, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	return nil
}

// natsLogger hands the server's words to slog; what it notes in passing is for debugging.
type natsLogger struct {
	log   *slog.Logger
	fatal chan<- string // takes the first word that the server cannot run
}

func (l *natsLogger) say(level slog.Level, format string, args []any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, "nats server", "text", fmt.Sprintf(format, args...))
	}
}

// Noticef is server.Logger's.
func (l *natsLogger) Noticef(format string, args ...any) { l.say(slog.LevelDebug, format, args) }

// Warnf is server.Logger's.
func (l *natsLogger) Warnf(format string, args ...any) { l.say(slog.LevelWarn, format, args) }

// Errorf is server.Logger's.
func (l *natsLogger) Errorf(format string, args ...any) { l.say(slog.LevelError, format, args) }

// Debugf is server.Logger's.
func (l *natsLogger) Debugf(format string, args ...any) { l.say(slog.LevelDebug, format, args) }

// Tracef is server.Logger's.
func (l *natsLogger) Tracef(string, ...any) {}

// Fatalf is server.Logger's.
func (l *natsLogger) Fatalf(format string, args ...any) {
	l.say(slog.LevelError, format, args)
	select {
	case l.fatal <- fmt.Sprintf(format, args...):
	default:
	}
}
