package source

import (
	"encoding/json"

	"github.com/dustin/go-humanize"
)

// Lost says that a source has lost so much since an earlier dump of it that
// something else than its application may be the reason: a directory of 100
// files or more has less than half of them, a database has become empty, in a
// directory too. ""
// when it has not.
func Lost(was, is Entry) string {
	if was.Kind != is.Kind {
		return ""
	}
	if lost := kinds[is.Kind].Lost; lost != nil {
		return lost(was, is)
	}
	return ""
}

// LostOutput is Lost of a kind whose entries are nothing but bytes.
func LostOutput(was, is Entry) string {
	if was.Size > 0 && is.Size == 0 {
		return "it had " + humanize.IBytes(uint64(was.Size)) + ", and is empty"
	}
	return ""
}

// Measured are facts that tell what a source has lost.
type Measured[F any] interface {
	*F
	Lost(was *F) string
}

// LostFacts is Lost of a kind whose facts tell it.
func LostFacts[F any, P Measured[F]](was, is Entry) string {
	var before, after F
	// Facts that cannot be read are those of another version, with which nothing
	// can be compared.
	if json.Unmarshal(was.Facts, &before) != nil || json.Unmarshal(is.Facts, &after) != nil {
		return ""
	}
	return P(&after).Lost(&before)
}
