package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// usage prints how a command is used. The settings' flags, which every command has,
// are one line of it.
//
// It is no template: a program that can reach text/template has every method of
// every type in it, because a template could call any of them.
func usage(cmd *cobra.Command) error {
	var b strings.Builder
	b.WriteString("Usage:")
	if cmd.Runnable() {
		fmt.Fprintf(&b, "\n  %s", cmd.UseLine())
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\n  %s [command]", cmd.CommandPath())
	}
	if cmd.HasExample() {
		fmt.Fprintf(&b, "\n\nExamples:\n%s", cmd.Example)
	}
	subcommands(&b, cmd, "Available Commands", func(c *cobra.Command) (name string, listed bool) {
		return c.Name(), c.IsAvailableCommand() || c.Name() == "help"
	})
	if cmd.HasParent() && cmd.HasAvailableLocalFlags() {
		fmt.Fprintf(&b, "\n\nFlags:\n%s", strings.TrimRight(cmd.LocalFlags().FlagUsagesWrapped(100), " \n"))
	}
	if cmd.Runnable() {
		b.WriteString("\n\nEvery command takes --json, and this host's settings as flags: understudy help settings")
	}
	subcommands(&b, cmd, "Additional help topics", func(c *cobra.Command) (name string, listed bool) {
		return c.CommandPath(), c.IsAdditionalHelpTopicCommand()
	})
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\n\nUse %q for more information about a command.", cmd.CommandPath()+" [command] --help")
	}
	_, err := fmt.Fprintln(cmd.OutOrStderr(), b.String())
	return err
}

// subcommands lists those of a command's that have a name here.
func subcommands(b *strings.Builder, cmd *cobra.Command, title string, entry func(*cobra.Command) (name string, listed bool)) {
	var names, about []string
	width := 11 // as cobra has it, at the least
	for _, c := range cmd.Commands() {
		if name, listed := entry(c); listed {
			names, about = append(names, name), append(about, c.Short)
			width = max(width, len(name))
		}
	}
	for i, name := range names {
		if i == 0 {
			fmt.Fprintf(b, "\n\n%s:", title)
		}
		fmt.Fprintf(b, "\n  %-*s %s", width, name, about[i])
	}
}
