// Package suggest names what somebody may have meant who wrote a word that is not known.
package suggest

import (
	"fmt"
	"strings"

	"github.com/agnivade/levenshtein"
)

// Nearest is the one of the valid words that a word was most likely meant to be; "" where
// none is near.
func Nearest(word string, valid []string) string {
	word = strings.ToLower(word)
	best, nearest := "", 0
	for _, v := range valid {
		d := levenshtein.ComputeDistance(word, strings.ToLower(v))
		near := d < len(word) && d <= max(1, len(v)/3) || len(word) >= 3 && strings.HasPrefix(strings.ToLower(v), word)
		if near && (best == "" || d < nearest) {
			best, nearest = v, d
		}
	}
	return best
}

// Instead goes on after "there is no such …": with the word that was meant, where one is
// near, and all that are valid, which plural names.
func Instead(word, plural string, valid []string) string {
	if len(valid) == 0 {
		return ""
	}
	all := fmt.Sprintf("the %s are %s", plural, strings.Join(valid, ", "))
	if near := Nearest(word, valid); near != "" {
		return fmt.Sprintf("; did you mean %q? %s%s", near, strings.ToUpper(all[:1]), all[1:])
	}
	return "; " + all
}
