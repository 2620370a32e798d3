// Package lossytest gives tests a network that loses datagrams: a proxy of UDP between clients and a server. It is for tests.
package lossytest

import (
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// Proxy passes datagrams on between clients and a server, and loses some of them, either way; one of ten comes twice. What is
// sent again and again gets through at the fourth time at the latest: a client that gives up would do so by chance otherwise.
type Proxy struct {
	*net.UDPConn
	to   *net.UDPAddr
	lost float64
	wg   sync.WaitGroup // of the ways

	mu     sync.Mutex // guards what follows
	random *rand.Rand
	losses map[string]int          // of a datagram, by where it goes and what it says
	ways   map[string]*net.UDPConn // to the server, by client
}

// Start starts a proxy that ends with the test. lost is the share of datagrams that do not arrive.
func Start(t testing.TB, to net.Addr, lost float64) *Proxy {
	t.Helper()
	server, err := net.ResolveUDPAddr("udp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{UDPConn: c, to: server, lost: lost, random: rand.New(rand.NewPCG(1, 2)), ways: map[string]*net.UDPConn{}} //nolint:gosec // no secret
	p.losses = map[string]int{}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.forth()
	}()
	t.Cleanup(func() {
		_ = p.Close()
		<-ended // it makes no more ways
		p.Move()
		p.wg.Wait()
	})
	return p
}

// Move gives every client a new way to the server, which sees it come from another address then.
func (p *Proxy) Move() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for client, way := range p.ways {
		_ = way.Close()
		delete(p.ways, client)
	}
}

// lossesMost is how often one datagram is lost.
const lossesMost = 3

// times returns how often a datagram arrives.
func (p *Proxy) times(way string, data []byte) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := way + string(data)
	switch r := p.random.Float64(); {
	case r < p.lost && p.losses[key] < lossesMost:
		p.losses[key]++
		return 0
	case r > 0.9:
		return 2
	}
	return 1
}

// way returns a client's way to the server.
func (p *Proxy) way(client *net.UDPAddr) (*net.UDPConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := client.String()
	if way := p.ways[name]; way != nil {
		return way, nil
	}
	way, err := net.DialUDP("udp", nil, p.to)
	if err != nil {
		return nil, err
	}
	p.ways[name] = way
	p.wg.Go(func() { p.back(way, client) })
	return way, nil
}

func (p *Proxy) forth() {
	buf := make([]byte, 64<<10)
	for {
		n, client, err := p.ReadFromUDP(buf)
		if err != nil {
			return
		}
		way, err := p.way(client)
		if err != nil {
			return
		}
		for range p.times("forth "+client.String(), buf[:n]) {
			_, _ = way.Write(buf[:n])
		}
	}
}

func (p *Proxy) back(way *net.UDPConn, to *net.UDPAddr) {
	buf := make([]byte, 64<<10)
	for {
		n, err := way.Read(buf)
		if err != nil {
			return
		}
		for range p.times("back "+to.String(), buf[:n]) {
			_, _ = p.WriteToUDP(buf[:n], to)
		}
	}
}
