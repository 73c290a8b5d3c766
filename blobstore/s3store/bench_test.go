package s3store

import (
	"crypto/sha256"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
)

// BenchmarkPut writes packs to a server that reads them and does nothing else: with
// the hash that a pack is named by, and without.
func BenchmarkPut(b *testing.B) {
	b.Setenv("AWS_ACCESS_KEY_ID", "key")
	b.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // a failure shows at the client
		w.Header().Set("ETag", `"1"`)
	}))
	defer sink.Close()
	s := storetest.Open[*Store](b, mux, Scheme+"://bucket?region=us-east-1&endpoint="+sink.URL)
	body := make([]byte, 16<<20)
	for name, cond := range map[string]blobstore.Condition{"known": blobstore.Always.Hashed(sha256.Sum256(body)), "computed": blobstore.Always} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if _, err := s.Put(b.Context(), "packs/a", body, cond); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
