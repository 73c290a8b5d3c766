package event

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzLines: a log that a crash, a full disk or an editor left.
func FuzzLines(f *testing.F) {
	f.Add([]byte("{\"id\":1,\"kind\":\"backup\",\"text\":\"x\"}\n{\"id\":2"))
	f.Add([]byte(strings.Repeat("\x00", 4096) + "\n{\"id\":3}\n"))
	f.Add(bytes.Repeat([]byte("x"), maxLine+1))
	f.Fuzz(func(t *testing.T, text []byte) {
		err := readLines(bytes.NewReader(text), func(e Event) {
			if e.ID == 0 {
				t.Error("an event without an id")
			}
		})
		if err != nil {
			t.Errorf("a damaged log keeps the agent from starting: %v", err)
		}
	})
}
