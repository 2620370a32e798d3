package testport_test

import (
	"net"
	"strconv"
	"testing"

	"berth/internal/testport"
)

func TestNobodyIsGivenAnothersPorts(t *testing.T) {
	given := map[int]bool{}
	for range 50 {
		base := testport.Base(t, 30)
		for port := base + 1; port <= base+30; port++ {
			if given[port] {
				t.Fatalf("port %d is given twice", port)
			}
			given[port] = true
		}
	}
	for range 500 { // once around: nor are they when others have rested
		r, err := testport.Take(t.Context(), 3)
		if err != nil {
			t.Fatal(err)
		}
		if given[r.Base+1] {
			t.Fatalf("port %d is given again, and is held", r.Base+1)
		}
		r.Release()
	}
}

func TestPortsThatAreHeldAreLeftOut(t *testing.T) {
	for _, network := range []string{"tcp", "udp"} {
		r, err := testport.Take(t.Context(), 3)
		if err != nil {
			t.Fatal(err)
		}
		held := listen(t, network, r.Address(2))
		r.Release()
		for range 500 { // once around
			other, err := testport.Take(t.Context(), 3)
			if err != nil {
				t.Fatal(err)
			}
			if other.Base == r.Base {
				t.Fatalf("ports are given of which %s port %d is held", network, r.Base+2)
			}
			other.Release()
		}
		held()
	}
}

func listen(t *testing.T, network, address string) (closes func()) {
	t.Helper()
	if network == "udp" {
		p, err := net.ListenPacket(network, address)
		if err != nil {
			t.Fatal(err)
		}
		return func() { _ = p.Close() }
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return func() { _ = l.Close() }
}

func TestAnAddressCanBeListenedAt(t *testing.T) {
	address := testport.Address(t)
	defer listen(t, "tcp", address)()
	if _, port, err := net.SplitHostPort(address); err != nil {
		t.Error(err)
	} else if n, _ := strconv.Atoi(port); n < 1024 || n >= 32768 {
		t.Errorf("%s lies where the kernel takes ports from", address)
	}
}
