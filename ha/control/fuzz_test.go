package control

import (
	"encoding/json"
	"testing"
)

// FuzzSecrets: the sealed part of the shared configuration keeps what a newer
// version wrote into it.
func FuzzSecrets(f *testing.F) {
	for _, text := range []string{`{}`, `{"users":[{"name":"a","role":"admin","password":"x"}],"webhooks":[{"id":"w"}],"new":[1]}`, `null`, `[]`, `{"users":null,"Users":[]}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var s Secrets
		if json.Unmarshal(text, &s) != nil {
			return
		}
		again, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var twice Secrets
		if err := json.Unmarshal(again, &twice); err != nil || len(twice.Users) != len(s.Users) || len(twice.Webhooks) != len(s.Webhooks) {
			t.Errorf("%s became %s: %v", text, again, err)
		}
	})
}

// FuzzPlace: where a page of the audit log begins comes with a request.
func FuzzPlace(f *testing.F) {
	for _, text := range []string{"1.2.backups/x.json", "", "...", "18446744073709551616.1.x", "1.-9223372036854775808.a.b.c"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePlace(text)
		if err != nil {
			return
		}
		if again, err := parsePlace(p.String()); err != nil || again != p {
			t.Errorf("%q: %+v, %v", text, again, err)
		}
	})
}

// FuzzClaimedCluster: read before anything is verified.
func FuzzClaimedCluster(f *testing.F) {
	for _, text := range []string{`{"payload":"eyJpZCI6ImMifQ"}`, `{"payload":1}`, `{"payload":"!"}`, ``, `{"payload":"e30","signatures":[]}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(_ *testing.T, text []byte) { _, _ = claimedCluster(text) })
}
