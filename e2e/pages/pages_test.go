package pages

import (
	"reflect"
	"testing"
)

func TestBlocksAreFound(t *testing.T) {
	const page = "On **host-b**:\n\n    one\n\n    two\nprose\n\n```sh\nthree\n```\n\n- item\n    that goes on\n\n~~~yaml\nfour: 4\n~~~\n"
	want := []Block{
		{"p.md", 3, Indented, "one\n\ntwo\n", "On **host-b**:\n"},
		{"p.md", 9, "sh", "three\n", "prose\n"},
		{"p.md", 16, "yaml", "four: 4\n", "\n- item\n    that goes on\n"},
	}
	if got := Blocks("p.md", page); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestCallsAreFound(t *testing.T) {
	const text = "(umask 077; understudy key generate > /etc/key)  # understudy here is a word\n" +
		"understudy join && sudo understudy restore latest --to '/tmp/a b' | tee x\nuntil understudy status --check; do sleep 1; done\n" +
		"systemctl start understudy\n"
	want := [][]string{{"key", "generate"}, {"join"}, {"restore", "latest", "--to", "/tmp/a b"}, {"status", "--check"}}
	if got := Calls(text); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
