package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/understudy-ha/understudy/e2e/pages"
)

// TestPagesCallCommandsThatExist looks at every "understudy …" of README.md and docs, in
// blocks and in prose: its command and flags are the program's own, with as many
// arguments as it takes. Blocks of commands run besides, in e2e.
func TestPagesCallCommandsThatExist(t *testing.T) {
	blocks, err := pages.All("../..")
	if err != nil {
		t.Fatal(err)
	}
	found, read := 0, map[string]bool{}
	check := func(page, text string) {
		for _, words := range pages.Calls(text) {
			found++
			if err := callable(words); err != nil {
				t.Errorf("%s: understudy %s: %v", page, strings.Join(words, " "), err)
			}
		}
	}
	for _, b := range blocks {
		if b.Language == "sh" || b.Language == pages.Indented {
			check(fmt.Sprintf("%s:%d", b.Page, b.Line), b.Text)
		}
		if read[b.Page] {
			continue
		}
		read[b.Page] = true
		spans, err := pages.Spans("../..", b.Page)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range spans {
			check(b.Page, s)
		}
	}
	if found < 80 {
		t.Errorf("only %d calls were found", found)
	}
}

// callable checks the words of a call, in which "…" and "[X]" stand for more words.
func callable(words []string) error {
	more := false
	words = slices.DeleteFunc(slices.Clone(words), func(w string) bool {
		open := strings.Contains(w, "…") || strings.HasPrefix(w, "[")
		more = more || open
		return open
	})
	root := newRoot(&app{})
	root.InitDefaultHelpCmd()
	cmd, rest, err := root.Find(words)
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(rest); err != nil && err != pflag.ErrHelp {
		return err
	}
	if args := cmd.Flags().Args(); len(args) > 0 && !more {
		return cmd.ValidateArgs(args)
	}
	return nil
}
