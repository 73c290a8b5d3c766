package sqlitefile

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// SQLite takes nothing but a path, and turns it into one without links before it
// opens anything: whoever owns a folder on the way could have put another one in
// its place by then. So SQLite is given a path that leads by way of an open
// folder's descriptor (fsx.Place.Held). For such a path two of its system calls
// are replaced, by the interface that it has for that: lstat says that nothing in
// it is a link, and open follows none and never waits. What SQLite keeps beside the
// database is then opened in the same held folder.

// at takes what p points to for a T.
func at[T, P any](p *P) *T { return (*T)(unsafe.Pointer(p)) }

// replaced keeps the functions that SQLite calls.
var replaced []any

// pointerTo is a function as SQLite calls it.
func pointerTo(f any) uintptr {
	replaced = append(replaced, f)
	return at[[2]uintptr](&f)[1]
}

func heldOpen(before uintptr) any {
	open := *at[func(*libc.TLS, uintptr, int32, int32) int32](&struct{ uintptr }{before})
	return func(tls *libc.TLS, name uintptr, flags, mode int32) int32 {
		path := libc.GoString(name)
		if !strings.HasPrefix(path, heldDirs) {
			return open(tls, name, flags, mode)
		}
		fd, err := openHeldPath(path, int(flags), uint32(mode))
		if err != nil {
			errno := libc.X__errno_location(tls)
			**at[*int32](&errno) = int32(err.(unix.Errno)) //nolint:errorlint,forcetypeassert // system calls return no other
			return -1
		}
		return int32(fd)
	}
}

func heldLstat(before uintptr) any {
	lstat := *at[func(*libc.TLS, uintptr, uintptr) int32](&struct{ uintptr }{before})
	return func(tls *libc.TLS, name, to uintptr) int32 {
		if path := libc.GoString(name); path == "/proc/self" || strings.HasPrefix(path+"/", heldDirs) {
			errno := libc.X__errno_location(tls)
			**at[*int32](&errno) = int32(unix.ENOENT) // which stands for: no link
			return -1
		}
		return lstat(tls, name, to)
	}
}

// openHeldPath opens a file in a held folder, or what a descriptor itself is of.
func openHeldPath(path string, flags int, mode uint32) (int, error) {
	flags &^= unix.O_NOFOLLOW // a descriptor's own name is a link
	if strings.Contains(path[len(heldDirs):], "/") {
		flags |= unix.O_NOFOLLOW | unix.O_NONBLOCK
	}
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, mode)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	if kind := st.Mode & unix.S_IFMT; err == nil && kind != unix.S_IFREG && kind != unix.S_IFDIR {
		err = unix.EINVAL
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// openHeld makes SQLite open what is in held folders.
var openHeld = sync.OnceValue(func() error {
	tls := libc.NewTLS()
	defer tls.Close()
	vfs := sqlite3.Xsqlite3_vfs_find(tls, 0)
	if vfs == 0 {
		return errors.New("SQLite has no file system")
	}
	calls := *at[*sqlite3.Tsqlite3_vfs](&vfs)
	for name, ours := range map[string]func(before uintptr) any{"open": heldOpen, "lstat": heldLstat} {
		text, err := libc.CString(name)
		if err != nil {
			return err
		}
		before := (*at[func(*libc.TLS, uintptr, uintptr) uintptr](&struct{ uintptr }{calls.FxGetSystemCall}))(tls, vfs, text)
		set := *at[func(*libc.TLS, uintptr, uintptr, sqlite3.Tsqlite3_syscall_ptr) int32](&struct{ uintptr }{calls.FxSetSystemCall})
		rc := set(tls, vfs, text, pointerTo(ours(before)))
		libc.Xfree(tls, text)
		if before == 0 || rc != sqlite3.SQLITE_OK {
			return fmt.Errorf("SQLite does not let its system call %s be replaced", name)
		}
	}
	return nil
})
