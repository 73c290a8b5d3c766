package gcsstore

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
)

// serviceAccount makes a service account's key file, whose tokens are issued
// at a URL, and lets Google's chain find it.
func serviceAccount(t *testing.T, issuer string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]string{
		"type":         "service_account",
		"client_email": "test@example.iam.gserviceaccount.com",
		"private_key":  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"token_uri":    issuer,
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", path)
}

// openWithCredentials opens a store behind an endpoint that wants credentials.
func openWithCredentials(t *testing.T, endpoint string) *Store {
	t.Helper()
	return open(t, "gs://bucket/prefix?anonymous=false&endpoint="+url.QueryEscape(endpoint))
}

func TestEveryRequestCarriesTheCredentials(t *testing.T) {
	tokens, requests := new(atomic.Int64), new(atomic.Int64)
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		tokens.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"access_token":"made-up","token_type":"Bearer","expires_in":3600}`)
	}))
	defer issuer.Close()
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		if got := r.Header.Get("Authorization"); got != "Bearer made-up" {
			t.Errorf("%s %s with %q", r.Method, r.URL, got)
		}
		w.Header().Set("X-Goog-Generation", "1")
		_, _ = io.WriteString(w, `{"name":"prefix/k","generation":"1","metageneration":"1"}`)
	}))
	defer store.Close()
	serviceAccount(t, issuer.URL)
	s := openWithCredentials(t, store.URL)
	ctx := t.Context()
	if _, err := s.Put(ctx, "k", nil, blobstore.IfAbsent()); err != nil {
		t.Error(err)
	}
	if _, err := s.Stat(ctx, "k"); err != nil {
		t.Error(err)
	}
	body, _, err := s.Get(ctx, "k", blobstore.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	for _, err := range s.List(ctx, "", "") {
		if err != nil {
			t.Error(err)
		}
	}
	if err := s.Delete(ctx, "k"); err != nil {
		t.Error(err)
	}
	if err := s.SetRules(ctx, nil); err != nil { // two requests
		t.Error(err)
	}
	if requests.Load() != 7 || tokens.Load() != 1 {
		t.Errorf("%d requests with %d tokens, want 7 with one", requests.Load(), tokens.Load())
	}
}

func TestNoCredentialsMeansDenied(t *testing.T) {
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "missing.json"))
	s := open(t, "gs://bucket")
	_, err := s.Put(t.Context(), "k", nil, blobstore.IfAbsent())
	storetest.WantKind(t, "put", err, blobstore.ErrDenied)
	if !strings.Contains(err.Error(), "GOOGLE_APPLICATION_CREDENTIALS") || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %q, want one line that says what to set", err)
	}
	_, err = s.Stat(t.Context(), "k")
	storetest.WantKind(t, "stat", err, blobstore.ErrDenied)
	_, err = s.Rules(t.Context())
	storetest.WantKind(t, "read rules", err, blobstore.ErrDenied)
}

func TestIssuersTroubleIsNotTheStoresWord(t *testing.T) {
	answer := func(status int) string {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"error":"invalid_grant"}`)
		}))
		t.Cleanup(srv.Close)
		return srv.URL
	}
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	tests := []struct {
		name, issuer string
		want         error
	}{
		{"refused", answer(400), blobstore.ErrDenied},
		{"forbidden", answer(403), blobstore.ErrDenied},
		{"gone", gone.URL, blobstore.ErrUnavailable},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			serviceAccount(t, test.issuer)
			s := openWithCredentials(t, "http://127.0.0.1:1")
			// Nothing has gone to the store, so the outcome is known.
			_, err := s.Put(t.Context(), "k", []byte("x"), blobstore.IfAbsent())
			storetest.WantKind(t, "put", err, test.want)
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has several lines: %q", err)
			}
		})
	}
}
