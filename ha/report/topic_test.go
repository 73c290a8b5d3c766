package report

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// findingsOf reports what of the problems and caveats is not among the findings, or not in
// their order.
func findingsOf(s Status) error {
	last := -1
	var wrong, known []string
	for i, f := range s.Findings {
		rank := slices.Index(Topics, f.Topic)
		if rank < 0 {
			return fmt.Errorf("%q is about %q, which the runbook does not know", f.Text, f.Topic)
		}
		if i > 0 && (f.Wrong && !s.Findings[i-1].Wrong || f.Wrong == s.Findings[i-1].Wrong && rank < last) {
			return fmt.Errorf("%q stands at a wrong place of %v", f.Text, s.Findings)
		}
		last = rank
		if f.Wrong {
			wrong = append(wrong, f.Text)
		} else {
			known = append(known, f.Text)
		}
	}
	for _, two := range [][2][]string{{wrong, s.Problems}, {known, s.Caveats}} {
		if !slices.Equal(slices.Sorted(slices.Values(two[0])), slices.Sorted(slices.Values(two[1]))) {
			return fmt.Errorf("the findings are %q, told is %q", two[0], two[1])
		}
	}
	return nil
}

// TestEachFindingHasItsEntryInTheRunbook: each topic is an anchor of docs/runbook.md.
func TestEachFindingHasItsEntryInTheRunbook(t *testing.T) {
	page, err := os.ReadFile("../../docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	anchors := map[Topic]bool{}
	for _, m := range regexp.MustCompile(`<a id="([^"]+)"`).FindAllStringSubmatch(string(page), -1) {
		anchors[Topic(m[1])] = true
	}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(page), -1) {
		anchors[Topic(strings.ReplaceAll(strings.ToLower(m[1]), " ", "-"))] = true
	}
	for _, topic := range Topics {
		if !anchors[topic] {
			t.Errorf("the runbook has no entry %s", topic)
		}
	}
}
