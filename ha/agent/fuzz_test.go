package agent

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/seal"
)

// FuzzSecrets: the sealed part of the shared configuration keeps what a newer
// version wrote into it.
func FuzzSecrets(f *testing.F) {
	for _, text := range []string{`{}`, `{"users":[{"name":"a","role":"admin","password":"x"}],"webhooks":[{"id":"w"}],"new":[1]}`, `null`, `[]`, `{"users":null,"Users":[]}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var s secrets
		if json.Unmarshal(text, &s) != nil {
			return
		}
		again, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var twice secrets
		if err := json.Unmarshal(again, &twice); err != nil || len(twice.Users) != len(s.Users) || len(twice.Webhooks) != len(s.Webhooks) {
			t.Errorf("%s became %s: %v", text, again, err)
		}
	})
}

// FuzzPlace: where a page of the history begins comes with a request.
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

// FuzzNotification: anybody can send one.
func FuzzNotification(f *testing.F) {
	ring := fuzzRing(f)
	a := &Agent{cfg: Config{Ring: ring}, bucket: newBucket(Config{Ring: ring, Clock: SystemClock()}, "c")}
	f.Add("msg_1", "1", "v1,AAAA", []byte(`{}`))
	f.Add("", "", "", []byte{})
	f.Add("x", "9223372036854775807", strings.Repeat("v1,x ", 100), []byte("x"))
	f.Fuzz(func(t *testing.T, id, timestamp, signature string, body []byte) {
		header := http.Header{}
		header.Set("webhook-id", id)
		header.Set("webhook-timestamp", timestamp)
		header.Set("webhook-signature", signature)
		if a.VerifyNotification(header, body) == nil {
			t.Error("a forged notification is taken")
		}
	})
}

func FuzzDuration(f *testing.F) {
	for _, text := range []string{"5m", "30d", "", "-1h", "1e9h", "99999999999d"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := ParseDuration(text); err == nil && d < 0 && !strings.Contains(text, "-") {
			t.Errorf("%q is %v", text, d)
		}
	})
}

// fuzzRing is the same one in every fuzzing process.
func fuzzRing(f *testing.F) *seal.Ring {
	f.Helper()
	key, err := seal.Generate(rand.NewChaCha8([32]byte{1}))
	if err != nil {
		f.Fatal(err)
	}
	ring, err := seal.NewRing(key)
	if err != nil {
		f.Fatal(err)
	}
	return ring
}
