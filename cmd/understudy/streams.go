package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
	"github.com/understudy-ha/understudy/ha/report"
)

// streamsLine says how old what a failover would bring back is, of each source whose log is
// shipped.
func streamsLine(s report.Status) string {
	var words []string
	for _, one := range s.Streams {
		if one.Part == 0 {
			words = append(words, fmt.Sprintf("%s: stream %s, nothing shipped yet", one.Source, one.Stream))
			continue
		}
		text := fmt.Sprintf("%s: up to %s ago (stream %s)", one.Source, terminal.Age(time.Duration(one.Age*float64(time.Second))), one.Stream)
		if one.Behind > 0 {
			text += ", of which " + humanize.IBytes(one.Behind) + " are not applied yet"
		}
		words = append(words, text)
	}
	return strings.Join(words, "; ")
}
