package directory

import "golang.org/x/sys/unix"

// minSparse is the size below which holes are not worth anything.
const minSparse = 128 << 10

// sparseBytes is what a file with holes takes on disk, at least 1, and 0 for
// a file without holes.
func sparseBytes(st *unix.Stat_t) int64 {
	const unit = 512 // of st_blocks, whatever the file system's block
	onDisk := int64(st.Blocks) * unit
	if st.Size < minSparse || onDisk >= st.Size {
		return 0
	}
	return max(onDisk, 1)
}
