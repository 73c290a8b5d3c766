package seal

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// ParseRing reads a key file: one key a line, newest first, each followed by
// its state; a lone key needs none and is active. Empty lines and lines that
// begin with # are ignored. An error names the line and never repeats it.
func ParseRing(file io.Reader) (*Ring, error) {
	var members []member
	stateless := 0 // the last line that has no state
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(strings.TrimPrefix(lines.Text(), "\ufeff"))
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		m, err := parseMember(text)
		if err != nil {
			return nil, fmt.Errorf("read key file: line %d: %w", n, err)
		}
		if m.state == "" {
			stateless, m.state = n, Active
		}
		members = append(members, m)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read key file: %w", err)
	}
	if stateless != 0 && len(members) > 1 {
		return nil, fmt.Errorf("read key file: line %d: with several keys each needs its state: %s, %s or %s", stateless, Added, Active, Retiring)
	}
	ring, err := newRing(members)
	if err != nil {
		return nil, fmt.Errorf("read key file: %w", err)
	}
	return ring, nil
}

// parseMember reads a key and, when it is there, its state.
func parseMember(text string) (member, error) {
	line, word := text, ""
	if i := strings.LastIndexAny(text, " \t"); i >= 0 {
		line, word = text[:i], text[i+1:]
	}
	switch state := State(word); state {
	case Added, Active, Retiring, "":
		k, err := ParseKey(line)
		return member{key: k, state: state}, err
	}
	if !strings.HasPrefix(strings.ToLower(text), linePrefix) {
		_, err := ParseKey(text)
		return member{}, err
	}
	// It may be the rest of a broken key, so it is not shown.
	return member{}, fmt.Errorf("%w: after the key stands something that is not its state (%s, %s or %s)", ErrKey, Added, Active, Retiring)
}

// File gives the ring as a key file. It holds the secrets themselves.
func (r *Ring) File() []byte {
	var b strings.Builder
	for _, m := range r.members {
		fmt.Fprintf(&b, "%s %s\n", m.key.Line(), m.state)
	}
	return []byte(b.String())
}
