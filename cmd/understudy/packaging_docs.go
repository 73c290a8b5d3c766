//go:build packaging

package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// Built with this tag the program does one thing: it writes, into the folder that its
// argument names, what the packages have of the commands beside the program.
func init() {
	if err := describeCommands(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func describeCommands(dir string) error {
	root := newRoot(&app{})
	root.DisableAutoGenTag = true // it says the day of the build
	man := filepath.Join(dir, "man")
	if err := os.MkdirAll(man, 0o755); err != nil {
		return err
	}
	// The date is the commit's: cobra goes by SOURCE_DATE_EPOCH.
	if err := doc.GenManTree(root, &doc.GenManHeader{Title: "UNDERSTUDY", Section: "1", Source: "Understudy " + version(), Manual: "Understudy"}, man); err != nil {
		return fmt.Errorf("write man pages: %w", err)
	}
	return completions(root, dir)
}

func completions(root *cobra.Command, dir string) error {
	const described = true
	if err := root.GenBashCompletionFileV2(filepath.Join(dir, "understudy.bash"), described); err != nil {
		return fmt.Errorf("write bash's completions: %w", err)
	}
	if err := root.GenZshCompletionFile(filepath.Join(dir, "_understudy")); err != nil {
		return fmt.Errorf("write zsh's completions: %w", err)
	}
	if err := root.GenFishCompletionFile(filepath.Join(dir, "understudy.fish"), described); err != nil {
		return fmt.Errorf("write fish's completions: %w", err)
	}
	return nil
}
