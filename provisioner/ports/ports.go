// Package ports tells who holds a port of this machine. It asks by binding, and finds the holder's name where the
// system shows it (/proc). What to do about a held port is decided by provisioner/plan.
package ports

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Holder returns who else holds the port, TCP or UDP, on the host: "java(812)", "another program" when the system does
// not say who, and nothing when the port is free.
func Holder(ctx context.Context, host string, port int) string {
	if by := HolderTCP(ctx, host, port); by != "" {
		return by
	}
	var lc net.ListenConfig
	p, err := lc.ListenPacket(ctx, "udp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return name("udp", port, err)
	}
	_ = p.Close()
	return ""
}

// HolderTCP is Holder for TCP alone.
func HolderTCP(ctx context.Context, host string, port int) string {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return name("tcp", port, err)
	}
	_ = l.Close()
	return ""
}

// name returns the holder's name; an error other than that the address is in use names itself.
func name(network string, port int, err error) string {
	if !errors.Is(err, syscall.EADDRINUSE) {
		if e, ok := errors.AsType[*os.SyscallError](err); ok {
			return fmt.Sprintf("nobody, but it cannot be opened: %v", e.Err)
		}
		return fmt.Sprintf("nobody, but it cannot be opened: %v", err)
	}
	inodes := map[string]bool{}
	for _, table := range []string{network, network + "6"} {
		addInodes(inodes, "/proc/net/"+table, port)
	}
	if len(inodes) > 0 {
		if who := owner(inodes); who != "" {
			return who
		}
	}
	return "another program"
}

// addInodes adds the sockets of a table of /proc/net that are bound to the port. A connection that goes out from the port
// holds it as well as a listener does.
func addInodes(inodes map[string]bool, path string, port int) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close() //nolint:errcheck // only read
	want := fmt.Sprintf(":%04X", port)
	for s := bufio.NewScanner(f); s.Scan(); {
		// sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode; no process has inode 0 any more.
		fields := strings.Fields(s.Text())
		if len(fields) < 10 || !strings.HasSuffix(fields[1], want) || fields[9] == "0" {
			continue
		}
		inodes[fields[9]] = true
	}
}

// owner returns the process that has one of the sockets open.
func owner(inodes map[string]bool) string {
	fds, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return ""
	}
	for _, fd := range fds {
		target, err := os.Readlink(fd)
		if err != nil {
			continue
		}
		inode, ok := strings.CutPrefix(target, "socket:[")
		if !ok || !inodes[strings.TrimSuffix(inode, "]")] {
			continue
		}
		pid := strings.Split(fd, "/")[2]
		comm, err := os.ReadFile("/proc/" + pid + "/comm")
		if err != nil {
			continue
		}
		return fmt.Sprintf("%s(%s)", strings.TrimSpace(string(comm)), pid)
	}
	return ""
}
