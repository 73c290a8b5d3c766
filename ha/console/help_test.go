package console_test

import (
	"net/http"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/ha/console"
	"github.com/understudy-ha/understudy/ha/report"
)

// TestHelpIsServedByTheProgram: each finding has its entry in the runbook as it is
// served, each link of a page leads to something that is served or to the web, and
// nothing is loaded from elsewhere. The set-up serves the same pages.
func TestHelpIsServedByTheProgram(t *testing.T) {
	pages := map[string]string{}
	open := []string{"runbook"}
	link := regexp.MustCompile(`<a href="([^"]*)"`)
	for len(open) > 0 {
		name := open[0]
		open = open[1:]
		if pages[name] != "" {
			continue
		}
		got := fetch(t, console.Handler(), "/console/help/"+name)
		if got.Code != http.StatusOK || !strings.HasPrefix(got.Header().Get("Content-Type"), "text/html") || !strings.Contains(got.Header().Get("Content-Security-Policy"), "default-src 'none'") {
			t.Fatalf("%s: %d %v", name, got.Code, got.Header())
		}
		pages[name] = got.Body.String()
		if strings.Contains(pages[name], "<script") || strings.Contains(pages[name], "<style") || strings.Contains(pages[name], `style="`) || !strings.Contains(pages[name], "<h1") {
			t.Errorf("%s: something inline, or no heading", name)
		}
		for _, m := range link.FindAllStringSubmatch(pages[name], -1) {
			to, _, _ := strings.Cut(m[1], "#")
			if to != "" && !strings.Contains(to, "://") && to != "../../" {
				open = append(open, path.Clean(to))
			}
		}
	}
	if len(pages) < 7 {
		t.Errorf("only %d pages were found", len(pages))
	}
	for name, text := range pages {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			to, anchor, found := strings.Cut(m[1], "#")
			if to == "" {
				to = name
			}
			if found && !strings.Contains(to, "://") && !strings.Contains(pages[to], `id="`+anchor+`"`) {
				t.Errorf("%s: there is no %s in %s", name, anchor, to)
			}
		}
	}
	for _, topic := range report.Topics {
		if !strings.Contains(pages["runbook"], `id="`+string(topic)+`"`) {
			t.Errorf("the runbook has no entry %s", topic)
		}
	}
	if got := fetch(t, console.SetupHandler(), "/console/help/runbook"); got.Body.String() != pages["runbook"] {
		t.Errorf("the set-up serves another runbook: %d", got.Code)
	}
	for _, name := range []string{"", "runbook.md", "promises", "../console"} {
		if got := fetch(t, console.Handler(), "/console/help/"+name); got.Code != http.StatusNotFound {
			t.Errorf("help/%s: %d", name, got.Code)
		}
	}
}
