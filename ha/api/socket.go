package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxSocketPath is the longest path that the kernel takes.
const maxSocketPath = len(unix.RawSockaddrUnix{}.Path) - 1

// socketSuffix names the socket while it is being made.
const socketSuffix = ".new"

// listenSocket listens on a socket file with mode 0600. The file appears under
// its name once it has that mode. A file that a dead process left is replaced;
// one that answers, and one that is no socket, are errors.
func listenSocket(ctx context.Context, path string) (net.Listener, error) {
	if len(path)+len(socketSuffix) > maxSocketPath {
		return nil, fmt.Errorf("the path has %d characters, and the system allows %d: use a data folder with a shorter path", len(path), maxSocketPath-len(socketSuffix))
	}
	if err := checkStale(ctx, path); err != nil {
		return nil, err
	}
	made := path + socketSuffix
	if err := os.Remove(made); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove the rest of an earlier start: %w", err)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", made)
	if err != nil {
		return nil, err
	}
	// Closing removes the name that was bound, which is not the final one.
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := publishSocket(made, path); err != nil {
		return nil, errors.Join(err, l.Close(), os.Remove(made))
	}
	return &socketListener{Listener: l, path: path}, nil
}

func publishSocket(made, path string) error {
	if err := os.Chmod(made, 0o600); err != nil {
		return fmt.Errorf("set its mode: %w", err)
	}
	if err := os.Rename(made, path); err != nil {
		return fmt.Errorf("give it its name: %w", err)
	}
	return nil
}

// checkStale says whether what lies at path may be replaced.
func checkStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("something that is no socket has its name: remove it")
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		return errors.Join(errors.New("another agent answers on it: is one running with this data folder?"), conn.Close())
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return fmt.Errorf("ask whether another agent answers on it: %w", err)
}

// socketListener removes its file when it is closed.
type socketListener struct {
	net.Listener
	path string
}

// Close removes the file and closes the socket.
func (l *socketListener) Close() error {
	err := os.Remove(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, l.Listener.Close())
}

// socketCaller notes the user of the process at the other end.
func socketCaller(ctx context.Context, conn net.Conn) context.Context {
	who := "socket"
	if uid, err := peerUID(conn); err == nil {
		who = socketUser(uid)
	}
	return withCaller(ctx, who)
}

// socketUser names a user of this host.
func socketUser(uid uint32) string {
	number := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(number); err == nil {
		return fmt.Sprintf("socket (uid %s %s)", number, u.Username)
	}
	return fmt.Sprintf("socket (uid %s)", number)
}

// peerUID asks the kernel who made the connection.
func peerUID(conn net.Conn) (uint32, error) {
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, errors.New("not a unix socket")
	}
	raw, err := unixConn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, credErr
	}
	return cred.Uid, nil
}
