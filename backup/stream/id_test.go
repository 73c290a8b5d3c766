package stream_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/stream"
)

func TestStreamsHaveNames(t *testing.T) {
	id := stream.ID{Epoch: 3, N: 12}
	text, err := json.Marshal(map[string]stream.ID{"id": id})
	if err != nil || string(text) != `{"id":"3-12"}` {
		t.Fatalf("JSON %s, %v", text, err)
	}
	var back map[string]stream.ID
	if err := json.Unmarshal(text, &back); err != nil || back["id"] != id {
		t.Errorf("read back: %v, %v", back, err)
	}
	if key := stream.Key("db", id, 7); key != "streams/db/3-12/000000000007" {
		t.Errorf("key %s", key)
	}
	for _, bad := range []string{"", "3", "3-", "-1", "03-1", "3-+1", "3-1-1", " 3-1", "3-1\n", "99999999999999999999-1"} {
		if id, err := stream.ParseID(bad); err == nil {
			t.Errorf("%q was read as %v", bad, id)
		}
	}
}

func TestNamesThatABucketDoesNotTakeAreRefused(t *testing.T) {
	for _, good := range []string{"db", "my.db-1_x", strings.Repeat("x", 64)} {
		if err := stream.CheckSource(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "db.", "a/b", "a b", "a__0x"} {
		if err := stream.CheckSource(bad); err == nil {
			t.Errorf("source %q was taken", bad)
		}
	}
}
