package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
)

// socketName is the socket's name in the data directory.
const socketName = "provisioner.sock"

// longest is how long a unix socket's path may be on every system we know.
const longest = 100

// Listen opens the socket of a data directory. The caller holds the directory's lock, so that a socket that is there
// is left over from a daemon that is gone.
func Listen(data string) (net.Listener, error) {
	path, done, err := socketPath(data)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove the old socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("open the socket: %w", err)
	}
	l.SetUnlinkOnClose(false) // its path may not be valid by then; whoever holds the directory removes it
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("open the socket: %w", err), l.Close())
	}
	return l, nil
}

// dial connects to the socket of a data directory.
func dial(ctx context.Context, data string) (net.Conn, error) {
	path, done, err := socketPath(data)
	if err != nil {
		return nil, err
	}
	defer done()
	var d net.Dialer
	return d.DialContext(ctx, "unix", path)
}

// socketPath returns a path of the socket that is short enough for the system: through an open directory, where the
// plain one is too long. The path is valid until done is called.
func socketPath(data string) (path string, done func(), err error) {
	path = filepath.Join(data, socketName)
	if len(path) <= longest {
		return path, func() {}, nil
	}
	dir, err := os.Open(data)
	if err != nil {
		return "", nil, fmt.Errorf("open the data directory: %w", err)
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), socketName), func() { _ = dir.Close() }, nil
}
