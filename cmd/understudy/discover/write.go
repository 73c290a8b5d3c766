package discover

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// YAML is what was found as a YAML file for understudy, with comments.
func (f *Found) YAML() string {
	var b strings.Builder
	b.WriteString(`# What Understudy backs up on this host, and how it starts and stops the application.
# Written by understudy config init, from what it found: look through it. Bucket, key and
# identity come from the environment file. Unknown keys are errors. understudy doctor
# says whether all of this can be backed up.

# application:
#   # Compared when a backup is restored on another host.
#   version: {command: [myapp, --version]}

sources:
`)
	for _, s := range f.Sources {
		f.source(&b, s)
	}
	for _, note := range f.Notes {
		comment(&b, "  ", note)
	}
	f.hooks(&b)
	b.WriteString(`
# How often this host, as a standby, restores a backup beside its own state and proves
# it: every backup (the default), every 30m, or off.
# rehearsal: every backup
`)
	return b.String()
}

func (f *Found) source(b *strings.Builder, s Source) {
	for _, text := range s.About {
		comment(b, "  ", text)
	}
	fmt.Fprintf(b, "  - name: %s\n    %s:\n", quote(s.Name), s.Kind)
	for _, line := range [][2]string{{"path", s.Path}, {"url", s.URL}, {"admin_url", s.AdminURL}} {
		if line[1] != "" {
			fmt.Fprintf(b, "      %s: %s\n", line[0], quote(line[1]))
		}
	}
	if s.Kind == "directory" {
		b.WriteString("      # exclude: [\"cache/**\", \"**/*.tmp\"]\n")
	}
	b.WriteString("\n")
}

func (f *Found) hooks(b *strings.Builder) {
	b.WriteString(`# Programs with their arguments; no shell reads them. promote starts the application and
# demote stops it; both may run twice, and demote returns when it has really stopped. They
# start and stop the application, never its database. (understudy exec replaces both.)
`)
	var names []string
	for _, u := range f.Units {
		names = append(names, quote(u.Name))
		if u.AtBoot {
			comment(b, "", fmt.Sprintf("%s starts at boot by itself: only the promote hook may start it. Do: systemctl disable %s", u.Name, u.Name))
		}
	}
	if len(names) == 0 {
		b.WriteString("# hooks:\n#   promote: [systemctl, start, myapp]\n#   demote: [systemctl, stop, myapp]\n")
	} else {
		units := strings.Join(names, ", ")
		fmt.Fprintf(b, "hooks:\n  promote: [systemctl, start, %s]\n  demote: [systemctl, stop, %s]\n", units, units)
	}
	b.WriteString("#   probe: [myapp, check]   # judges a staged restore; 0 is good\n")
}

// words are what some readers of YAML take for something else than text.
var words = []string{"true", "false", "yes", "no", "on", "off", "y", "n", "null"}

// plain is what YAML takes for text without quotes.
var plain = regexp.MustCompile(`^/?[A-Za-z][A-Za-z0-9._/@-]*$`)

// commentWidth is how wide comments are.
const commentWidth = 88

// comment writes a text as comment lines.
func comment(b *strings.Builder, indent, text string) {
	line := indent + "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > commentWidth && line != indent+"#" {
			b.WriteString(line + "\n")
			line = indent + "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}

// quote is a text as YAML has it: as it is where that is plain, in double quotes
// elsewhere.
func quote(text string) string {
	if plain.MatchString(text) && !slices.Contains(words, strings.ToLower(text)) {
		return text
	}
	return strconv.Quote(text)
}
