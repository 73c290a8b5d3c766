package peers

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/seal/sealtest"
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/control"
)

// FuzzNotification: anybody can send one.
func FuzzNotification(f *testing.F) {
	ring := fuzzRing(f)
	h := Host{Ring: ring, Control: control.New(control.Config{Ring: ring, Clock: clock.System()}, "c")}
	f.Add("msg_1", "1", "v1,AAAA", []byte(`{}`))
	f.Add("", "", "", []byte{})
	f.Add("x", "9223372036854775807", strings.Repeat("v1,x ", 100), []byte("x"))
	f.Fuzz(func(t *testing.T, id, timestamp, signature string, body []byte) {
		header := http.Header{}
		header.Set("webhook-id", id)
		header.Set("webhook-timestamp", timestamp)
		header.Set("webhook-signature", signature)
		if h.verify(header, body) == nil {
			t.Error("a forged notification is taken")
		}
	})
}

// fuzzRing is the same one in every fuzzing process.
func fuzzRing(f *testing.F) *seal.Ring {
	f.Helper()
	return sealtest.NewRing(f, rand.NewChaCha8([32]byte{1}))
}
