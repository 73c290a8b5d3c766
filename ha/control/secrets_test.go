package control

import (
	"encoding/json"
	"testing"
)

// TestUnknownSecretsAreKept: an older version that changes one secret must not
// drop those that a newer one has put there.
func TestUnknownSecretsAreKept(t *testing.T) {
	var s Secrets
	text := `{"later":{"a":[1,2]},"users":[{"name":"alice"}],"webhooks":[{"id":"w1","url":"https://example.com","secret":"s"}]}`
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	if len(s.Webhooks) != 1 || s.Webhooks[0].ID != "w1" {
		t.Fatalf("%+v", s)
	}
	s.Webhooks = nil
	got, err := json.Marshal(s)
	if want := `{"later":{"a":[1,2]},"users":[{"name":"alice"}]}`; err != nil || string(got) != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
	if got, err := json.Marshal(Secrets{}); err != nil || string(got) != `{}` {
		t.Errorf("%s, %v", got, err)
	}
}
