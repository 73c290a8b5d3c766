package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
	"github.com/understudy-ha/understudy/ha/report"
)

// streamsLine says how far the log of each source has come whose log is shipped.
func streamsLine(s report.Status) string {
	var all []string
	for _, one := range s.Streams {
		words := shippedWords(one)
		if one.Replica {
			words = replicaWords(one)
		}
		if one.Error != "" {
			words = append(words, one.Error)
		}
		all = append(all, one.Source+": "+strings.Join(words, ", "))
	}
	return strings.Join(all, "; ")
}

// shippedWords say what the active has shipped of a log.
func shippedWords(s report.StreamStatus) []string {
	if s.Stream == "" {
		return []string{"not shipped: there is no stream"}
	}
	words := []string{fmt.Sprintf("stream %s, part %d, position %d", s.Stream, s.Part, s.To)}
	switch {
	case s.Age < 0:
		words = append(words, "how much of the log is in the bucket is not known yet")
	case s.Age == 0:
		words = append(words, "all that was read is in the bucket")
	default:
		words = append(words, "what was read in the last "+age(s.Age)+" is not in the bucket")
	}
	switch {
	case !s.Runs:
		words = append(words, "the log is not read")
	case !s.Based:
		words = append(words, "no backup leads up to it yet")
	case !s.Confirmed:
		words = append(words, "not confirmed to the source yet")
	default:
		words = append(words, "confirmed to the source")
	}
	if k := s.Kept; k != nil && !k.Time.IsZero() {
		words = append(words, "of which the server keeps "+humanize.IBytes(uint64(k.Bytes)))
		if k.Waits {
			words = append(words, "commits wait for the bucket")
		}
	}
	return words
}

// replicaWords say how far a standby's replica has come.
func replicaWords(s report.StreamStatus) []string {
	switch {
	case s.Stream == "":
		return []string{"no stream to follow"}
	case !s.Runs:
		return []string{"the replica does not follow stream " + s.Stream}
	}
	words := []string{fmt.Sprintf("the replica follows stream %s, part %d", s.Stream, s.Part)}
	switch {
	case s.Behind < 0:
		return append(words, "what it has applied is not known")
	case s.Behind == 0:
		return append(words, "all of it applied")
	case s.Lag < 0:
		return append(words, humanize.IBytes(uint64(s.Behind))+" not applied yet")
	}
	return append(words, fmt.Sprintf("%s (%s) not applied yet", humanize.IBytes(uint64(s.Behind)), age(s.Lag)))
}

func age(seconds float64) string {
	return terminal.Age(time.Duration(seconds * float64(time.Second)))
}
