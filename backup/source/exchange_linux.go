package source

import "golang.org/x/sys/unix"

// exchangeNames gives each of two names in one file system what the other one
// had, at once.
func exchangeNames(a, b string) error {
	return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
}
