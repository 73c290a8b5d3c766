package gcsstore

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
)

// ruleServer plays what Google's JSON API does with a bucket's rules.
type ruleServer struct {
	t              *testing.T
	metageneration int
	rules          []json.RawMessage
	patches        int
	beforePatch    func() // somebody else's turn
}

func (s *ruleServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/storage/v1/b/bucket" {
		s.t.Errorf("%s %s", r.Method, r.URL)
	}
	if r.Method == http.MethodPatch {
		s.patches++
		if s.beforePatch != nil {
			s.beforePatch()
		}
		if match := r.URL.Query().Get("ifMetagenerationMatch"); match != strconv.Itoa(s.metageneration) {
			w.WriteHeader(http.StatusPreconditionFailed)
			_, _ = io.WriteString(w, refusal(412, "conditionNotMet", "no"))
			return
		}
		var patch map[string]map[string][]json.RawMessage
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &patch); err != nil || len(patch) != 1 || patch["lifecycle"]["rule"] == nil {
			s.t.Errorf("patch %s, %v", body, err)
		}
		s.rules = patch["lifecycle"]["rule"]
		s.metageneration++
	}
	answer := map[string]any{"metageneration": strconv.Itoa(s.metageneration)}
	if len(s.rules) > 0 {
		answer["lifecycle"] = map[string]any{"rule": s.rules}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// withRules opens a store in a bucket that has these rules.
func withRules(t *testing.T, prefix string, rules ...string) (*Store, *ruleServer) {
	t.Helper()
	s := &ruleServer{t: t, metageneration: 3}
	for _, rule := range rules {
		s.rules = append(s.rules, json.RawMessage(rule))
	}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return open(t, "gs://bucket"+prefix+"?endpoint="+srv.URL), s
}

func (s *ruleServer) want(rules ...string) {
	s.t.Helper()
	decode := func(raw []byte) (value any) {
		if err := json.Unmarshal(raw, &value); err != nil {
			s.t.Fatal(err)
		}
		return value
	}
	var got, want []any
	for _, rule := range s.rules {
		got = append(got, decode(rule))
	}
	for _, rule := range rules {
		want = append(want, decode([]byte(rule)))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Errorf("rules of the bucket (-want +got):\n%s", diff)
	}
}

func TestRulesAreReadAsWhatTheyDeleteOfTheStore(t *testing.T) {
	type expiry = blobstore.Rule
	tests := []struct {
		name, rule string
		want       []expiry
	}{
		{"own", `{"action":{"type":"Delete"},"condition":{"age":14,"matchesPrefix":["cluster/backups/"]}}`,
			[]expiry{{Prefix: "backups/", Days: 14, Own: true}}},
		{"own for versions", `{"action":{"type":"Delete"},"condition":{"daysSinceNoncurrentTime":1,"matchesPrefix":["cluster/"]}}`,
			[]expiry{{NoncurrentDays: 1, Own: true}}},
		{"the whole bucket", `{"action":{"type":"Delete"},"condition":{"age":30}}`, []expiry{{Days: 30}}},
		{"above the store", `{"action":{"type":"Delete"},"condition":{"age":30,"matchesPrefix":["clu"]}}`, []expiry{{Days: 30}}},
		{"beside the store", `{"action":{"type":"Delete"},"condition":{"age":30,"matchesPrefix":["cluster-2/"]}}`, nil},
		{"several prefixes", `{"action":{"type":"Delete"},"condition":{"age":3,"matchesPrefix":["logs/","cluster/packs/","c"]}}`,
			[]expiry{{Prefix: "packs/", Days: 3}, {Days: 3}}},
		{"live blobs", `{"action":{"type":"Delete"},"condition":{"age":3,"isLive":true,"matchesPrefix":["cluster/"]}}`, []expiry{{Days: 3}}},
		{"versions by age", `{"action":{"type":"Delete"},"condition":{"age":3,"isLive":false}}`, []expiry{{NoncurrentDays: 3}}},
		{"versions by number", `{"action":{"type":"Delete"},"condition":{"numNewerVersions":3}}`, []expiry{{NoncurrentDays: 1, Narrowed: true}}},
		{"versions by two ages", `{"action":{"type":"Delete"},"condition":{"age":9,"daysSinceNoncurrentTime":3}}`,
			[]expiry{{NoncurrentDays: 3, Narrowed: true}}},
		{"at once", `{"action":{"type":"Delete"},"condition":{"age":0}}`, []expiry{{Days: 1}}},
		{"a date", `{"action":{"type":"Delete"},"condition":{"createdBefore":"2031-01-01"}}`, []expiry{{Days: 1, Narrowed: true}}},
		{"a suffix", `{"action":{"type":"Delete"},"condition":{"age":3,"matchesPrefix":["cluster/"],"matchesSuffix":[".tmp"]}}`,
			[]expiry{{Days: 3, Narrowed: true}}},
		{"a condition of tomorrow's", `{"action":{"type":"Delete"},"condition":{"age":3,"matchesPrefix":["cluster/"],"phaseOfMoon":"full"}}`,
			[]expiry{{Days: 3, Narrowed: true}}},
		{"uploads", `{"action":{"type":"AbortIncompleteMultipartUpload"},"condition":{"age":7}}`, []expiry{{UploadDays: 7}}},
		{"colder storage", `{"action":{"type":"SetStorageClass","storageClass":"COLDLINE"},"condition":{"age":7}}`, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, _ := withRules(t, "/cluster", test.rule)
			got, err := s.Rules(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("expiries (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOwnRulesReadBackAsTheyWereSet(t *testing.T) {
	for _, prefix := range []string{"", "/cluster"} {
		s, server := withRules(t, prefix)
		if got, err := s.Rules(t.Context()); err != nil || len(got) > 0 {
			t.Errorf("without rules: %+v, %v", got, err)
		}
		want := []blobstore.Rule{
			{Prefix: "backups/", Days: 14, NoncurrentDays: 1, Own: true},
			{Prefix: "packs/", Days: 22, NoncurrentDays: 2, Own: true},
			{Prefix: "salvage/", Days: 14, Own: true},
		}
		for range 2 { // setting them again changes nothing
			if err := s.SetRules(t.Context(), want); err != nil {
				t.Fatal(err)
			}
			got, err := s.Rules(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("prefix %q: expiries (-want +got):\n%s", prefix, diff)
			}
			if len(server.rules) != 5 {
				t.Errorf("prefix %q: %d rules, want 5: %s", prefix, len(server.rules), server.rules)
			}
		}
		if err := s.SetRules(t.Context(), nil); err != nil || len(server.rules) > 0 {
			t.Errorf("prefix %q: after removing all: %s, %v", prefix, server.rules, err)
		}
	}
}

// foreign rules are nobody's but their makers', however like our own.
var foreign = []string{
	`{"action":{"type":"SetStorageClass","storageClass":"COLDLINE"},"condition":{"age":7,"matchesPrefix":["cluster/packs/"]}}`,
	`{"action":{"type":"Delete"},"condition":{"age":365}}`,
	`{"action":{"type":"Delete"},"condition":{"age":5,"matchesPrefix":["logs/"]}}`,
	`{"action":{"type":"Delete"},"condition":{"age":5,"matchesPrefix":["cluster/a/","cluster/b/"]}}`,
	`{"action":{"type":"Delete"},"condition":{"age":5,"isLive":true,"matchesPrefix":["cluster/packs/"]}}`,
	`{"action":{"type":"Delete"},"condition":{"age":5,"phaseOfMoon":{"is":"full"},"matchesPrefix":["cluster/packs/"]}}`,
	`{"action":{"type":"AbortIncompleteMultipartUpload"},"condition":{"age":7,"matchesPrefix":["cluster/"]}}`,
	`{"action":{"type":"Tomorrow","with":[1,2.5]},"condition":{"age":7}}`,
}

func TestForeignRulesStayAsTheyAre(t *testing.T) {
	old := `{"action":{"type":"Delete"},"condition":{"age":99,"matchesPrefix":["cluster/old/"]}}`
	s, server := withRules(t, "/cluster", append([]string{old}, foreign...)...)
	err := s.SetRules(t.Context(), []blobstore.Rule{{Prefix: "packs/", Days: 22, NoncurrentDays: 1, UploadDays: 1}})
	if err != nil {
		t.Fatal(err)
	}
	server.want(append(foreign[:len(foreign):len(foreign)],
		`{"action":{"type":"Delete"},"condition":{"age":22,"matchesPrefix":["cluster/packs/"]}}`,
		`{"action":{"type":"Delete"},"condition":{"daysSinceNoncurrentTime":1,"matchesPrefix":["cluster/packs/"]}}`)...)
	if err := s.SetRules(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	server.want(foreign...)
}

func TestARuleForAWholeBucketIsAddedOnce(t *testing.T) {
	versions := `{"action":{"type":"Delete"},"condition":{"daysSinceNoncurrentTime":1}}`
	s, server := withRules(t, "", foreign[1])
	for range 2 {
		if err := s.SetRules(t.Context(), []blobstore.Rule{{NoncurrentDays: 1}}); err != nil {
			t.Fatal(err)
		}
		server.want(foreign[1], versions)
	}
	got, err := s.Rules(t.Context())
	if want := []blobstore.Rule{{Days: 365}, {NoncurrentDays: 1}}; err != nil || !cmp.Equal(got, want) {
		t.Errorf("expiries %+v, %v; want %+v", got, err, want)
	}
}

func TestRulesThatChangeMeanwhileAreNotLost(t *testing.T) {
	s, server := withRules(t, "/cluster", foreign[0])
	server.beforePatch = func() {
		if server.patches <= 2 { // somebody is quicker, twice
			server.rules = append(server.rules, json.RawMessage(foreign[server.patches]))
			server.metageneration++
		}
	}
	if err := s.SetRules(t.Context(), []blobstore.Rule{{Prefix: "packs/", Days: 22}}); err != nil {
		t.Fatal(err)
	}
	server.want(foreign[0], foreign[1], foreign[2],
		`{"action":{"type":"Delete"},"condition":{"age":22,"matchesPrefix":["cluster/packs/"]}}`)

	server.patches = 0
	server.beforePatch = func() { server.metageneration++ } // somebody always is
	err := s.SetRules(t.Context(), nil)
	storetest.WantKind(t, "set", err, blobstore.ErrPrecondition)
	if server.patches != ruleTries {
		t.Errorf("%d attempts, want %d", server.patches, ruleTries)
	}
}

func TestBadRulesAreRefused(t *testing.T) {
	s, server := withRules(t, "/cluster")
	for _, bad := range []blobstore.Rule{
		{Prefix: "../", Days: 1}, {Prefix: "packs/", Days: -1}, {Prefix: "packs/", NoncurrentDays: -1}, {Prefix: "packs/", Days: 3_000_000_000},
	} {
		storetest.WantKind(t, "set", s.SetRules(t.Context(), []blobstore.Rule{bad}), blobstore.ErrInvalid)
	}
	if server.patches > 0 {
		t.Error("a bad rule reached the bucket")
	}
	server.rules = []json.RawMessage{json.RawMessage(`{"action":{"type":"Delete"},"condition":{"age":"soon"}}`)}
	_, err := s.Rules(t.Context())
	storetest.WantKind(t, "read what cannot be read", err, blobstore.ErrUnavailable)
	storetest.WantKind(t, "set beside it", s.SetRules(t.Context(), nil), blobstore.ErrUnavailable)
	if server.patches > 0 {
		t.Error("a rule that cannot be read was written back")
	}
}

func TestRefusedRulesSayWhy(t *testing.T) {
	tests := []struct {
		status          int
		reason, message string
		want            error
	}{
		{403, "forbidden", "test@example does not have storage.buckets.get access", blobstore.ErrDenied},
		{404, "notFound", "The specified bucket does not exist.", blobstore.ErrInvalid},
		{503, "backendError", "later", blobstore.ErrUnavailable},
	}
	for _, test := range tests {
		s, _ := answering(t, test.status, refusal(test.status, test.reason, test.message))
		_, err := s.Rules(t.Context())
		storetest.WantKind(t, "read", err, test.want)
		want := "read lifecycle bucket: " + test.want.Error() + ": " + test.reason + ": " + test.message
		if err.Error() != want {
			t.Errorf("error %q, want %q", err, want)
		}
		storetest.WantKind(t, "set", s.SetRules(t.Context(), nil), test.want)
	}
}

// The emulator accepts rules and forgets them: who sets rules reads them back.
func TestAForgetfulStoreIsFoundOutByReadingBack(t *testing.T) {
	s := open(t, bucketURL(t, "/cluster"))
	if err := s.SetRules(t.Context(), []blobstore.Rule{{Prefix: "packs/", Days: 22}}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Rules(t.Context()); err != nil || len(got) > 0 {
		t.Errorf("read back %+v, %v; want nothing", got, err)
	}
}
