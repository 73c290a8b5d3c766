package s3store

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
)

// TestRulesGoOverTheWireAsTheyCame has what no model of the SDK's knows, and
// a setting of the bucket that comes in a header.
func TestRulesGoOverTheWireAsTheyCame(t *testing.T) {
	const foreign = `<Rule><ID>x</ID><Filter><Prefix/></Filter><Status>Enabled</Status><Expiration><Days>9</Days><Vendor>yes</Vendor></Expiration></Rule>`
	const setting, value = "X-Amz-Transition-Default-Minimum-Object-Size", "varies_by_storage_class"
	var saved string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		switch {
		case err != nil || !r.URL.Query().Has("lifecycle"):
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
		case r.Method == http.MethodGet:
			w.Header().Set(setting, value)
			_, err = io.WriteString(w, "<LifecycleConfiguration>"+foreign+"</LifecycleConfiguration>")
		case strings.Contains(string(body), "AbortIncompleteMultipartUpload"):
			w.WriteHeader(http.StatusNotImplemented)
			_, err = io.WriteString(w, "<Error><Code>NotImplemented</Code><Message>no uploads here</Message></Error>")
		default:
			saved = string(body)
			if r.Header.Get(setting) != value {
				t.Errorf("the bucket's setting is reset: %v", r.Header)
			}
		}
		if err != nil {
			t.Error(err)
		}
	}))
	defer srv.Close()
	s := openAt(t, srv.URL)
	if err := s.SetRules(t.Context(), []blobstore.Rule{{Prefix: "packs/", Days: 22, UploadDays: 1}}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(saved, foreign) || !strings.Contains(saved, "<Prefix>prefix/packs/</Prefix>") {
		t.Errorf("what was saved lacks a rule: %s", saved)
	}
}

func TestRulesThatCannotBeReadAreNotReplaced(t *testing.T) {
	for status, want := range map[int]error{403: blobstore.ErrDenied, 500: blobstore.ErrUnavailable, 404: blobstore.ErrInvalid} {
		s, requests := answering(t, status, map[int]string{404: "NoSuchBucket", 403: "AccessDenied", 500: "InternalError"}[status])
		_, err := s.Rules(t.Context())
		storetest.WantKind(t, "read", err, want)
		storetest.WantKind(t, "write", s.SetRules(t.Context(), nil), want)
		if got := requests.Load(); got != 2 {
			t.Errorf("%d requests, want one each, to read", got)
		}
	}
}

// A store that speaks the protocol without this part of it is one without rules,
// not one whose rules cannot be read.
func TestAStoreThatKnowsNoRulesIsSaidToHaveNone(t *testing.T) {
	for _, test := range []struct {
		status int
		code   string
	}{{501, "NotImplemented"}, {405, "MethodNotAllowed"}, {501, "SomethingElse"}, {400, "NotImplemented"}} {
		s, _ := answering(t, test.status, test.code)
		if _, err := s.Rules(t.Context()); !errors.Is(err, blobstore.ErrNoRules) {
			t.Errorf("%d %s: read: %v", test.status, test.code, err)
		}
		if err := s.SetRules(t.Context(), []blobstore.Rule{{Prefix: "packs/", Days: 22}}); !errors.Is(err, blobstore.ErrNoRules) {
			t.Errorf("%d %s: write: %v", test.status, test.code, err)
		}
	}
	none, _ := answering(t, 404, "NoSuchLifecycleConfiguration")
	if rules, err := none.Rules(t.Context()); err != nil || len(rules) > 0 {
		t.Errorf("a bucket that has none: %v, %v", rules, err)
	}
}
