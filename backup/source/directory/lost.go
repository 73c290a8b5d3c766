package directory

import (
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"
)

// names is how many names lead to what is not a folder.
func (f *Facts) names() int64 { return f.Files + f.HardLinks + f.Symlinks + f.Specials }

// Lost implements source.Measured.
func (f *Facts) Lost(was *Facts) string {
	var found []string
	if was.names() >= manyFiles && 2*f.names() < was.names() {
		found = append(found, fmt.Sprintf("had %s files (%s), has %s (%s)",
			humanize.Comma(was.names()), humanize.IBytes(uint64(was.Bytes)), humanize.Comma(f.names()), humanize.IBytes(uint64(f.Bytes))))
	}
	if text := f.Tables.lost(was.Tables); text != "" && f.Policy == was.Policy {
		found = append(found, text)
	}
	return strings.Join(found, "; ")
}

// manyFiles is how many files a directory had when it counts that more than half
// of them are gone. A smaller one comes and goes.
const manyFiles = 100
