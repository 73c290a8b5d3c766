package source

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"
)

// manyFiles is how many files a directory had when it counts that more than half
// of them are gone. A smaller one comes and goes.
const manyFiles = 100

// manyRows is how many rows a database had when it counts that all are gone.
const manyRows = 100

// Lost says that a source has lost so much since an earlier dump of it that
// something else than its application may be the reason: a directory of 100
// files or more has less than half of them, a database has become empty, in a
// directory too. ""
// when it has not.
func Lost(was, is Entry) string {
	if was.Kind != is.Kind {
		return ""
	}
	switch is.Kind {
	case "directory":
		return lost[DirectoryFacts](was, is)
	case "sqlite":
		return lost[sqliteFacts](was, is)
	case "postgres":
		return lost[postgresFacts](was, is)
	case "prometheus":
		return lost[PrometheusFacts](was, is)
	case "command", "file":
		if was.Size > 0 && is.Size == 0 {
			return "it had " + humanize.IBytes(uint64(was.Size)) + ", and is empty"
		}
	}
	return ""
}

// measured are facts that tell what a source has lost.
type measured[F any] interface {
	*F
	lost(was *F) string
}

func lost[F any, P measured[F]](was, is Entry) string {
	var before, after F
	// Facts that cannot be read are those of another version, with which nothing
	// can be compared.
	if json.Unmarshal(was.Facts, &before) != nil || json.Unmarshal(is.Facts, &after) != nil {
		return ""
	}
	return P(&after).lost(&before)
}

// names is how many names lead to what is not a folder.
func (f *DirectoryFacts) names() int64 { return f.Files + f.HardLinks + f.Symlinks + f.Specials }

func (f *DirectoryFacts) lost(was *DirectoryFacts) string {
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

func (f *sqliteFacts) lost(was *sqliteFacts) string {
	// Every table has a page of its own.
	if !f.Empty || was.Empty || was.PageCount < 2 {
		return ""
	}
	return fmt.Sprintf("had tables (%s), has none", humanize.IBytes(uint64(was.Size)))
}

func (f *postgresFacts) lost(was *postgresFacts) string {
	switch {
	case was.Tables > 0 && f.Tables == 0:
		return fmt.Sprintf("had %d tables, has none", was.Tables)
	case was.Rows >= manyRows && f.Rows == 0:
		return fmt.Sprintf("had about %s rows, has none", humanize.Comma(was.Rows))
	}
	return ""
}

func (f *PrometheusFacts) lost(was *PrometheusFacts) string {
	if was.Samples == 0 || f.Samples > 0 {
		return ""
	}
	return fmt.Sprintf("had %s samples, has none", humanize.Comma(int64(was.Samples)))
}
