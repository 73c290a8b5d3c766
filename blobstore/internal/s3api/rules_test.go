package s3api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/blobstore"
)

// fakeBucket keeps a document, and refuses those that hold some words.
type fakeBucket struct {
	document string
	refuse   []string
	saves    int
}

func (b *fakeBucket) LoadRules(context.Context) ([]byte, error) { return []byte(b.document), nil }

func (b *fakeBucket) SaveRules(_ context.Context, document []byte) error {
	b.saves++
	for _, word := range b.refuse {
		if strings.Contains(string(document), word) {
			return &blobstore.Error{Op: "write lifecycle", Kind: blobstore.ErrInvalid, Err: errors.New("refused: " + word)}
		}
	}
	b.document = string(document)
	return nil
}

// foreign are rules with everything that Amazon and others know.
var foreign = []string{
	`<ID>archive</ID><Filter><Prefix>cluster/</Prefix></Filter><Status>Enabled</Status>` +
		`<Transition><Days>0</Days><StorageClass>GLACIER_IR</StorageClass></Transition>` +
		`<Transition><Days>365</Days><StorageClass>DEEP_ARCHIVE</StorageClass></Transition>`,
	`
    <ID>a &amp; b</ID>
    <Filter><And><Prefix>cluster/packs/</Prefix><Tag><Key>k</Key><Value>&lt;v&gt;</Value></Tag><ObjectSizeGreaterThan>0</ObjectSizeGreaterThan></And></Filter>
    <Status>Enabled</Status><Expiration><Days>30</Days></Expiration>
  `,
	`<Prefix>clus</Prefix><Status>Enabled</Status><Expiration><Date>2100-01-01T00:00:00.000Z</Date></Expiration>`,
	`<ID>everything</ID><Filter></Filter><Status>Enabled</Status><AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>` +
		`<NoncurrentVersionTransition><NoncurrentDays>30</NoncurrentDays><StorageClass>GLACIER</StorageClass><NewerNoncurrentVersions>3</NewerNoncurrentVersions></NoncurrentVersionTransition>`,
	`<ID>vendor</ID><Filter><Prefix/></Filter><Status>Enabled</Status><Expiration><Days>9</Days><ExpiredObjectAllVersions>true</ExpiredObjectAllVersions></Expiration>` +
		`<AllVersionsExpiration><Days>5</Days></AllVersionsExpiration><Sparkle xmlns="urn:x" much="yes"/>`,
	`<ID>markers</ID><Filter><Prefix>cluster/</Prefix></Filter><Status>Enabled</Status><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>`,
	`<ID>off</ID><Filter><Prefix>cluster/</Prefix></Filter><Status>Disabled</Status><Expiration><Days>1</Days></Expiration>`,
	`<ID>small</ID><Filter><ObjectSizeLessThan>10</ObjectSizeLessThan></Filter><Status>Enabled</Status><Expiration><Days>2</Days></Expiration>`,
	`<ID>keep</ID><Filter><Prefix>cluster/x</Prefix></Filter><Status>Enabled</Status><NoncurrentVersionExpiration><NewerNoncurrentVersions>3</NewerNoncurrentVersions></NoncurrentVersionExpiration>`,
	`<ID>elsewhere</ID><Filter><Prefix>cluster2/</Prefix></Filter><Status>Enabled</Status><Expiration><Days>1</Days></Expiration>`,
	`<ID>understudy cluster/deep/ #1 packs/</ID><Filter><Prefix>cluster/deep/packs/</Prefix></Filter><Status>Enabled</Status><Expiration><Days>4</Days></Expiration>`,
}

func documentOf(rules ...string) string {
	return `<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">` +
		"<Rule>" + strings.Join(rules, "</Rule>\n<Rule>") + "</Rule></LifecycleConfiguration>\n"
}

func TestRulesOfOthersAreSeenAsWhatTheyDelete(t *testing.T) {
	s := Rules{Bucket: &fakeBucket{document: documentOf(foreign...)}, Prefix: "cluster/"}
	got, err := s.Rules(t.Context())
	want := []blobstore.Rule{
		{Name: "a & b", Prefix: "packs/", Days: 30, Narrowed: true},
		{Days: 1},
		{Name: "everything", UploadDays: 7},
		{Name: "vendor", Days: 5},
		{Name: "small", Days: 2, Narrowed: true},
		{Name: "keep", Prefix: "x", NoncurrentDays: 1, Narrowed: true},
		{Name: "understudy cluster/deep/ #1 packs/", Prefix: "deep/packs/", Days: 4},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("rules, %v\n got %+v\nwant %+v", err, got, want)
	}
}

func TestRulesOfOthersAreKeptToTheLetter(t *testing.T) {
	bucket := &fakeBucket{document: documentOf(foreign...)}
	s := Rules{Bucket: bucket, Prefix: "cluster/"}
	for _, own := range [][]blobstore.Rule{{{Prefix: "packs/", Days: 22}, {NoncurrentDays: 1, UploadDays: 1}}, {{Prefix: "backups/", Days: 14}}, nil} {
		if err := s.SetRules(t.Context(), own); err != nil {
			t.Fatal(err)
		}
		for _, rule := range foreign {
			if !strings.Contains(bucket.document, "<Rule>"+rule+"</Rule>") {
				t.Errorf("with %+v set, the document has lost %s:\n%s", own, rule, bucket.document)
			}
		}
		if got := strings.Count(bucket.document, "<Rule>"); got != len(foreign)+len(own) {
			t.Errorf("%d rules, want %d of others and %d own", got, len(foreign), len(own))
		}
	}
}

func TestWhatAStoreDoesNotTakeIsLeftOut(t *testing.T) {
	own := []blobstore.Rule{{Prefix: "packs/", Days: 22}, {Prefix: "tmp/", UploadDays: 2}, {NoncurrentDays: 1, UploadDays: 1}}
	tests := []struct {
		refuse []string
		want   []blobstore.Rule
		fails  bool
	}{
		{nil, own, false},
		{[]string{"AbortIncomplete"}, []blobstore.Rule{{Prefix: "packs/", Days: 22}, {NoncurrentDays: 1}}, false},
		{[]string{"AbortIncomplete", "Noncurrent"}, []blobstore.Rule{{Prefix: "packs/", Days: 22}}, false},
		{[]string{"Expiration"}, nil, true},
	}
	for _, test := range tests {
		s := Rules{Bucket: &fakeBucket{refuse: test.refuse}, Prefix: "cluster/"}
		if err := s.SetRules(t.Context(), own); (err != nil) != test.fails {
			t.Errorf("refused %q: %v", test.refuse, err)
		}
		got, err := s.Rules(t.Context())
		for i := range got {
			if !got[i].Own || got[i].Name == "" {
				t.Errorf("rule %+v is not the store's own", got[i])
			}
			got[i].Own, got[i].Name = false, ""
		}
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("refused %q: rules %+v, %v; want %+v", test.refuse, got, err, test.want)
		}
	}
}

func TestNoRulesNeedNoDocument(t *testing.T) {
	bucket := &fakeBucket{}
	s := Rules{Bucket: bucket}
	if err := s.SetRules(t.Context(), nil); err != nil || bucket.saves != 0 {
		t.Errorf("no rules set where there are none: %v, %d requests to write", err, bucket.saves)
	}
	if err := s.SetRules(t.Context(), []blobstore.Rule{{Prefix: "packs/"}}); err != nil || bucket.document != "" {
		t.Errorf("a rule that deletes nothing: %v, document %q", err, bucket.document)
	}
	for _, days := range []int{5, 0} {
		if err := s.SetRules(t.Context(), []blobstore.Rule{{Days: days}}); err != nil || (bucket.document == "") != (days == 0) {
			t.Errorf("%d days: %v, document %q", days, err, bucket.document)
		}
	}
}

func TestIDsAreShortAndKeepStoresApart(t *testing.T) {
	long := strings.Repeat("p", 199)
	stores := []Rules{{Prefix: ""}, {Prefix: "a/"}, {Prefix: "a/b/"}, {Prefix: "understudy/"}, {Prefix: long + "/"}, {Prefix: long[1:] + "/"}}
	for i, s := range stores {
		for n, prefix := range []string{"", "b/packs/", "#1", strings.Repeat("x", 200) + "/"} {
			d, err := parse([]byte(documentOf(string(s.encode(blobstore.Rule{Prefix: prefix, Days: 1}, n+1)))))
			if err != nil {
				t.Fatal(err)
			}
			id := d.Rules[0].ID
			if len(id) > maxID {
				t.Errorf("an ID has %d bytes", len(id))
			}
			for j, other := range stores {
				if other.owns(id) != (i == j) {
					t.Errorf("store %.20q owns %.40q: %v", other.Prefix, id, other.owns(id))
				}
			}
		}
	}
}

func TestWhatIsNoDocumentIsAnError(t *testing.T) {
	for _, document := range []string{"<html>", "no XML", documentOf("<Expiration><Days>many</Days></Expiration>")} {
		s := Rules{Bucket: &fakeBucket{document: document}}
		if got, err := s.Rules(t.Context()); err == nil {
			t.Errorf("%q: rules %+v, want an error", document, got)
		}
		if err := s.SetRules(t.Context(), nil); err == nil {
			t.Errorf("%q: rules were set on it", document)
		}
	}
}

func TestCodesHaveTheirKind(t *testing.T) {
	tests := []struct {
		code   string
		status int
		want   error
	}{
		{"", 404, blobstore.ErrNotFound},
		{"NoSuchKey", 404, blobstore.ErrNotFound},
		{NoBucket, 404, blobstore.ErrInvalid},
		{"RequestTimeout", 400, blobstore.ErrUnavailable},
		{"ExpiredToken", 400, blobstore.ErrDenied},
		{"", 0, blobstore.ErrUnavailable},
	}
	for _, test := range tests {
		if got := Kind(test.code, test.status); !errors.Is(got, test.want) {
			t.Errorf("%s: %v, want %v", fmt.Sprint(test.code, " ", test.status), got, test.want)
		}
	}
}
