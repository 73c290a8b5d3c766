package azstore

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/e2e/server"
)

// item is a blob as a list shows it.
func item(name, kind string) string {
	return "<Blob><Name>" + name + "</Name><Properties><Etag>0x1</Etag><Content-Length>1</Content-Length>" +
		"<Last-Modified>Mon, 03 Feb 2031 04:05:06 GMT</Last-Modified>" + kind + "</Properties></Blob>"
}

// listing answers every list with all of these, whatever it is asked for.
func listing(items ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		fmt.Fprintf(w, "<EnumerationResults><Blobs>%s</Blobs><NextMarker/></EnumerationResults>", strings.Join(items, ""))
	}
}

func TestStoreThatCannotStartAtAKeyIsSkippedThrough(t *testing.T) {
	s, _ := serving(t, listing(item("prefix/a", ""), item("prefix/b", ""), item("prefix/b-c", ""), item("prefix/c", "")))
	var got []string
	for attrs, err := range s.List(t.Context(), "", "b") {
		if err != nil || attrs.Token != `"0x1"` || attrs.Size != 1 || attrs.Time.Year() != 2031 {
			t.Errorf("list: %+v, %v", attrs, err)
		}
		got = append(got, attrs.Key)
	}
	if want := []string{"b-c", "c"}; !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
}

func TestHierarchicalNamespaceIsRefused(t *testing.T) {
	tests := map[string]http.HandlerFunc{
		"another order": listing(item("prefix/a/b", ""), item("prefix/a-b", "")),
		"a folder":      listing(item("prefix/a", "<ResourceType>directory</ResourceType>")),
	}
	for what, answer := range tests {
		s, _ := serving(t, answer)
		var last error
		for _, last = range s.List(t.Context(), "", "") {
		}
		storetest.WantKind(t, what, last, blobstore.ErrInvalid)
	}
}

func TestListedBlobWithoutAnETagIsNotTrusted(t *testing.T) {
	s, _ := serving(t, listing("<Blob><Name>prefix/a</Name><Properties/></Blob>"))
	for _, err := range s.List(t.Context(), "", "") {
		storetest.WantKind(t, "list", err, blobstore.ErrUnavailable)
	}
}

// What is asked of the store must not grow with what lies before the start.
func TestListStartsAtTheStore(t *testing.T) {
	u := bucketURL(t, "/cluster")
	proxy := storetest.NewProxy(t, "http://"+server.SharedAzurite(t).Address)
	s := open(t, through(t, u, proxy.URL()))
	for _, key := range []string{"a/1", "a/2", "b/1"} {
		if _, err := s.Put(t.Context(), key, nil, blobstore.Always); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		prefix, after, start string
		want                 []string
		requests             int
	}{
		{"", "a/1", "cluster/a/1", []string{"a/2", "b/1"}, 1},
		{"a/", "a/1", "cluster/a/1", []string{"a/2"}, 1},
		{"a/", "Z", "", []string{"a/1", "a/2"}, 1},
		{"a/", "b", "", nil, 0},
	}
	for _, test := range tests {
		proxy.Requests()
		var got []string
		for attrs, err := range s.List(t.Context(), test.prefix, test.after) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, attrs.Key)
		}
		requests := proxy.Requests()
		if !slices.Equal(got, test.want) || len(requests) != test.requests {
			t.Errorf("list %q after %q: %q in %d requests, want %q in %d", test.prefix, test.after, got, len(requests), test.want, test.requests)
		}
		for _, r := range requests {
			if r.Query.Get("startFrom") != test.start {
				t.Errorf("list %q after %q starts from %q", test.prefix, test.after, r.Query.Get("startFrom"))
			}
		}
	}
}
