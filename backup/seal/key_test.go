package seal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
)

// testKey makes the n-th key of the tests.
func testKey(n byte) Key {
	k, err := Generate(rand.NewChaCha8([32]byte{n}))
	if err != nil {
		panic(err)
	}
	return k
}

func TestAKeyReadsBackFromItsLine(t *testing.T) {
	k := testKey(1)
	line := k.Line()
	upper := strings.ToUpper(line)
	for _, text := range []string{line, " \t" + line + "\r\n", upper} {
		got, err := ParseKey(text)
		if err != nil || !got.Equal(k) || got.ID() != k.ID() {
			t.Errorf("ParseKey gave %v, %v", got, err)
		}
	}
	if strings.ContainsAny(line, " \t\n") {
		t.Error("the line has white space")
	}
}

func TestAKeyIsForgivenLettersThatLookLikeDigits(t *testing.T) {
	k := testKey(1)
	body := strings.TrimPrefix(k.Line(), linePrefix)
	if !strings.Contains(body, "0") || !strings.Contains(body, "1") {
		t.Fatalf("choose a test key with 0 and 1 in it")
	}
	for _, one := range []string{"l", "I", "L"} {
		got, err := ParseKey(linePrefix + strings.NewReplacer("0", "O", "1", one).Replace(body))
		if err != nil || !got.Equal(k) {
			t.Errorf("with %s for 1: %v", one, err)
		}
	}
}

func TestAMistakeInAPastedKeyIsNamed(t *testing.T) {
	line := testKey(1).Line()
	body := strings.TrimPrefix(line, linePrefix)
	for _, c := range []struct{ name, text, want string }{
		{"nothing", " \n", "empty"},
		{"something else", "ssh-ed25519 AAAA", "a key begins with understudy_key1_"},
		{"without its prefix", body, "a key begins with understudy_key1_"},
		{"of another version", strings.Replace(line, "key1", "key2", 1), "another version"},
		{"cut in the prefix", line[:14], "incomplete"},
		{"cut short", line[:40], "wrong length: it has 40 characters, a whole key has 74"},
		{"pasted twice", line + body, "wrong length"},
		{"broken over two lines", line[:30] + "\n" + line[30:], "white space"},
		{"with a character that no key has", line[:30] + "!" + line[31:], "position 31"},
		{"two characters swapped", linePrefix + body[1:2] + body[:1] + body[2:], "wrong checksum"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseKey(c.text)
			if !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), body[:8]) {
				t.Errorf("the error shows the key: %v", err)
			}
		})
	}
}

func TestEveryMistypedCharacterIsNoticed(t *testing.T) {
	line := testKey(1).Line()
	for i := len(linePrefix); i < len(line); i++ {
		for _, c := range alphabet {
			if byte(c) == line[i] {
				continue
			}
			if _, err := ParseKey(line[:i] + string(c) + line[i+1:]); err == nil || !strings.Contains(err.Error(), "mistyped") {
				t.Fatalf("%c at %d: %v", c, i, err)
			}
		}
	}
}

func TestNoFormattingShowsASecret(t *testing.T) {
	k := testKey(1)
	data := DataKeys{Encrypt: [32]byte(k.secret()), Chunk: [32]byte(k.secret())}
	ring, err := NewRing(k)
	if err != nil {
		t.Fatal(err)
	}
	type holder struct {
		key  Key
		ring *Ring
	}
	type shower struct {
		Key  Key
		Data DataKeys
		Ring *Ring
	}
	inner := holder{k, ring}
	outer := shower{k, data, ring}
	values := []any{k, &k, data, &data, ring, *ring, inner, &inner, outer, &outer, []Key{k}, map[string]Key{"k": k}}
	var text bytes.Buffer
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%c", "%U"} {
			fmt.Fprintf(&text, verb+"\n", v)
		}
		for _, h := range []slog.Handler{slog.NewJSONHandler(&text, nil), slog.NewTextHandler(&text, nil)} {
			slog.New(h).Info("shown", "value", v, slog.Group("group", "value", v))
		}
		j, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(j)
	}
	for _, form := range secretForms(k) {
		if strings.Contains(strings.ToLower(text.String()), form) {
			t.Errorf("the secret is shown as %q", form)
		}
	}
	if !strings.Contains(text.String(), k.ID()) {
		t.Error("the id is not shown")
	}
}

// secretForms are the beginnings of the ways in which a secret may be printed.
func secretForms(k Key) []string {
	s := k.secret()[:4]
	return []string{
		strings.TrimPrefix(k.Line(), linePrefix)[:8],
		fmt.Sprintf("%x", s),
		strings.Trim(fmt.Sprintf("%d", s), "[]"),
		strings.Trim(fmt.Sprintf("%o", s), "[]"),
		strings.Trim(fmt.Sprintf("%b", s), "[]"),
		strings.Trim(fmt.Sprintf("%x", [4]byte(s)), "[]"),
		strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", s), "[]byte{"), "}"),
		strings.ToLower(strings.Trim(fmt.Sprintf("%U", s), "[]")),
		fmt.Sprintf("%d,%d,%d,%d", s[0], s[1], s[2], s[3]),
	}
}

func TestAKeyIdTellsKeysApart(t *testing.T) {
	if a, b := testKey(1).ID(), testKey(2).ID(); a == b || len(a) != 8 {
		t.Errorf("ids %s and %s", a, b)
	}
	if id := (Key{}).ID(); id != "" {
		t.Errorf("the zero key has the id %q", id)
	}
}

func TestGenerateReportsARandomSourceThatFails(t *testing.T) {
	if _, err := Generate(strings.NewReader("short")); err == nil {
		t.Error("no error")
	}
	if _, err := NewDataKeys(strings.NewReader("short")); err == nil {
		t.Error("no error for data keys")
	}
}

func FuzzParseKey(f *testing.F) {
	line := testKey(1).Line()
	for _, seed := range []string{line, strings.ToUpper(line), line[:40], line + line, "", "understudy_key1_", "understudy_key2_abc"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		k, err := ParseKey(text)
		if err != nil {
			if !errors.Is(err, ErrKey) {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		again, err := ParseKey(k.Line())
		if err != nil || !again.Equal(k) {
			t.Fatalf("the key's own line does not give it back: %v", err)
		}
	})
}
