package pages

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// call is the program's name where a command begins, in a shell or in prose.
var call = regexp.MustCompile("(?m)(?:^\\s*|[;&|(]\\s*|\\b(?:sudo|until|while|if|then|do) |`)understudy( |$|`)")

// Calls are the words after each "understudy" that is called in a text.
func Calls(text string) (all [][]string) {
	for _, at := range call.FindAllStringSubmatchIndex(text, -1) {
		rest := text[at[2]:]
		if end := strings.IndexAny(rest, "\n`"); end >= 0 {
			rest = rest[:end]
		}
		all = append(all, words(rest))
	}
	return all
}

var span = regexp.MustCompile("`understudy [^`\\n]+`")

// Spans are the calls within the prose of a page.
func Spans(top, page string) (all []string, err error) {
	text, err := os.ReadFile(filepath.Join(top, page))
	return span.FindAllString(string(text), -1), err
}

// words splits one command as a shell does, as far as pages go: up to a comment, a
// redirection, or the next command.
func words(line string) (all []string) {
	var word strings.Builder
	var quote rune
	begun := false
	flush := func() {
		if begun {
			all = append(all, word.String())
		}
		word.Reset()
		begun = false
	}
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, begun = r, true
		case r == ' ':
			flush()
		case strings.ContainsRune(";|&<>)", r), r == '#' && !begun:
			flush()
			return all
		default:
			begun = true
			word.WriteRune(r)
		}
	}
	flush()
	return all
}
