package source

import (
	"time"
)

// maxReads is how often a file is read that changes while it is being read.
const maxReads = 3

// granularity is how coarse the times of files may be: two seconds on FAT, a
// second on old formats, a clock tick on others.
const granularity = 2 * time.Second
