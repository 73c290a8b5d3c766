package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/names"
	"github.com/understudy-ha/understudy/cmd/understudy/settings"
	"github.com/understudy-ha/understudy/cmd/understudy/suggest"
	"github.com/understudy-ha/understudy/ha/shared"
)

// completionTime bounds what a completion may take: somebody waits at a prompt.
const completionTime = time.Second

// namesOf lists what may be said in one place.
type namesOf func(n names.Names, ctx context.Context) []string

// fixed are names that are always the same.
func fixed(all ...string) namesOf {
	return func(names.Names, context.Context) []string { return all }
}

func (a *app) names() names.Names { return names.Names{Set: a.set, Agent: a.agent} }

// completer gives a shell what may be said.
type completer struct {
	// names reads the settings that a command was given, as far as they can be read.
	names func(cmd *cobra.Command) names.Names
}

func (a *app) completer() completer {
	return completer{names: func(cmd *cobra.Command) names.Names {
		file, err := a.surroundings.find(cmd.Flags())
		if err == nil {
			a.set, err = settings.Read(cmd.Flags(), a.surroundings.lookup, file)
		}
		if err != nil {
			a.set = &settings.Host{}
		}
		return a.names()
	}}
}

// command gives a command's first arguments, most of them (0: any number), completions.
func (c completer) command(cmd *cobra.Command, most int, of namesOf) *cobra.Command {
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return slices.DeleteFunc(c.list(cmd, word, of), func(name string) bool { return slices.Contains(args, name) }), cobra.ShellCompDirectiveNoFileComp
	}
	return cmd
}

// flag gives a flag's value completions; one that takes several has each.
func (c completer) flag(cmd *cobra.Command, flag string, of namesOf) {
	_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		before := ""
		if i := strings.LastIndexByte(word, ','); i >= 0 {
			before, word = word[:i+1], word[i+1:]
		}
		found := c.list(cmd, word, of)
		for i, name := range found {
			found[i] = before + name
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}) // which fails for a flag that is not there alone
}

// list lists the names that begin so. It says nothing of what goes wrong.
func (c completer) list(cmd *cobra.Command, word string, of namesOf) []string {
	parent := cmd.Context()
	if parent == nil {
		parent = context.Background()
	}
	ctx, cancel := context.WithTimeout(parent, completionTime)
	defer cancel()
	return slices.DeleteFunc(slices.Clone(of(c.names(cmd), ctx)), func(name string) bool { return !strings.HasPrefix(name, word) })
}

// settings gives the settings that are one of a few words completions.
func (c completer) settings(root *cobra.Command) {
	c.flag(root, "log-level", fixed("debug", "info", "warn", "error"))
	c.flag(root, "log-format", fixed("text", "json"))
}

// config has the keys of config set, and the values of the one that has some.
func (c completer) config(cmd *cobra.Command) {
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		of := fixed()
		switch {
		case len(args) == 0:
			of = fixed(shared.ConfigKeys...)
		case len(args) == 1 && args[0] == "fencing":
			of = fixed("available", "strict")
		}
		return c.list(cmd, word, of), cobra.ShellCompDirectiveNoFileComp
	}
}

// isShells reports whether a command is for a shell: those need no settings, and what is
// wrong with them is told elsewhere.
func isShells(cmd *cobra.Command) bool {
	return cmd.Name() == cobra.ShellCompRequestCmd || cmd.Name() == cobra.ShellCompNoDescRequestCmd || cmd.HasParent() && cmd.Parent().Name() == "completion"
}

// meant adds to an agent's refusal of words which of those that there are was perhaps
// meant.
func meant(err error, plural string, valid []string, words ...string) error {
	if err == nil || !errors.Is(err, exit.ErrUsage) && !errors.Is(err, exit.ErrFailed) {
		return err
	}
	for _, word := range words {
		switch near := suggest.Nearest(word, valid); {
		case slices.Contains(valid, word):
		case !strings.Contains(err.Error(), strings.Join(valid, ", ")):
			return fmt.Errorf("%w%s", err, suggest.Instead(word, plural, valid))
		case near != "":
			return fmt.Errorf("%w; did you mean %q?", err, near)
		}
	}
	return err
}

// meantOf is meant, of names that have to be asked for.
func (a *app) meantOf(ctx context.Context, err error, plural string, of namesOf, words ...string) error {
	if err == nil || len(words) == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, completionTime)
	defer cancel()
	return meant(err, plural, of(a.names(), ctx), words...)
}

// unknownFlag adds to pflag's error which flag was perhaps meant.
func unknownFlag(cmd *cobra.Command, err error) error {
	missing := (*pflag.NotExistError)(nil)
	if !errors.As(err, &missing) || len(missing.GetSpecifiedName()) < 2 {
		return err
	}
	var flags []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			flags = append(flags, f.Name)
		}
	})
	if near := suggest.Nearest(missing.GetSpecifiedName(), flags); near != "" {
		return fmt.Errorf("%w; did you mean --%s?", err, near)
	}
	return err
}
