// Package filestore keeps blobs as ordinary files in a folder of one host:
// file:///path. The file at path/key holds exactly the blob's body.
//
// # Writing
//
// A body is written to a temporary file; then, under the store's lock, the
// condition is checked against the file that is there, the new file is
// stamped, flushed, and renamed into place, and its folder is flushed. Readers
// take no lock: they see the old file or the new one. A crash between any two
// steps leaves the old version, or the new one, and at worst a temporary file,
// which a later Open removes. The lock is flock(2) on a file, so that
// processes exclude each other and a dead one holds nothing.
//
// # Versions
//
// A version's token is its file's modification time, inode and size. The
// writer sets the modification time itself, under the lock, to the present
// time or to a nanosecond after the last stamp given, whichever is later; the
// lock file's own modification time remembers that last stamp. So no two
// versions share a stamp, and Stat and List need not read bodies. A file
// system that cannot keep nanoseconds is refused at the first write. A clock
// that was set back by more than a minute is followed, lest the store's time
// stand still until the clock has caught up.
//
// # The folder .store
//
// Keys cannot start with a dot (blobstore.CheckKey), and .store is the
// store's own: .store/lock is the lock, .store/tmp holds temporary files.
// Nothing is created, not even the store's folder, before the first write, so
// that a store can be read from a read-only place.
package filestore
