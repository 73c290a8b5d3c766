// Package reading tells whether a file changed while it was read: by its times, once the
// pages of it that somebody has mapped are written down, and by how it grew.
package reading

import "time"

// MaxReads is how often a file is read that changes while it is being read.
const MaxReads = 3

// Granularity is how coarse the times of files may be: two seconds on FAT, a
// second on old formats, a clock tick on others.
const Granularity = 2 * time.Second
