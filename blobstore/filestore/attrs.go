package filestore

import (
	"fmt"
	"io/fs"
	"syscall"

	"github.com/understudy-ha/understudy/blobstore"
)

// attrsOf describes the version of a blob that a file holds.
func attrsOf(key string, info fs.FileInfo) blobstore.Attrs {
	return blobstore.Attrs{
		Key:   key,
		Size:  info.Size(),
		Token: tokenOf(info),
		Time:  info.ModTime(),
	}
}

// tokenOf names a version. The stamp alone is unique among the store's own
// writes; inode and size also tell apart files that somebody copied into
// place or edited.
func tokenOf(info fs.FileInfo) blobstore.Token {
	var inode uint64
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		inode = stat.Ino
	}
	return blobstore.Token(fmt.Sprintf("%x-%x-%x", info.ModTime().UnixNano(), inode, info.Size()))
}
