package storetest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// StaleReads makes the server one whose reads and lists do not see what was
// written since the fault was injected: a blob that was read before is
// answered as it was then, one that was not does not exist, and lists leave
// out what is new. Writes happen, and their conditions hold. It must strike
// all requests:
//
//	p.Inject(storetest.NetFault{Times: storetest.Forever, Do: storetest.StaleReads()})
func StaleReads() NetAction {
	s := &stale{answers: make(map[string]*answer)}
	return s.serve
}

type stale struct {
	mu      sync.Mutex
	answers map[string]*answer // the first one to each read
	written []string           // paths, or names, of what was written since
	old     []string           // paths of what was there when it was first read
}

func (s *stale) serve(w http.ResponseWriter, r *http.Request, pass http.Handler) {
	if Writing(r) {
		answer := ask(pass, r)
		s.note(r, answer)
		answer.send(w, r)
		return
	}
	s.read(r, pass).send(w, r)
}

// note remembers what a write was to.
func (s *stale) note(r *http.Request, answer *answer) {
	if answer.status >= http.StatusMultipleChoices {
		return
	}
	name := r.URL.Path
	var object struct{ Name string }
	if json.Unmarshal(answer.body, &object) == nil && object.Name != "" {
		name = "/" + object.Name // Google's uploads are all to one path
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written = append(s.written, name)
}

// read answers as the server did the first time, or would have done.
func (s *stale) read(r *http.Request, pass http.Handler) *answer {
	s.mu.Lock()
	known := s.known(r)
	s.mu.Unlock()
	if known == nil {
		known = ask(pass, r)
		s.mu.Lock()
		switch {
		case isList(r):
			known = s.without(known)
		case s.isNew(r.URL.Path):
			known = &answer{status: http.StatusNotFound, header: http.Header{"Content-Length": {"0"}, "Date": known.header["Date"]}}
		}
		if known.status < http.StatusMultipleChoices {
			s.old = append(s.old, r.URL.Path)
		}
		s.answers[readKey(r)] = known
		s.mu.Unlock()
	}
	etag := known.header.Get("Etag")
	if etag != "" && etag == r.Header.Get("If-None-Match") {
		return &answer{status: http.StatusNotModified, header: http.Header{"Etag": {etag}}}
	}
	return known
}

// known is the answer to the same read before; that to a GET serves a HEAD.
func (s *stale) known(r *http.Request) *answer {
	if found := s.answers[readKey(r)]; found != nil || r.Method != http.MethodHead {
		return found
	}
	get := r.Clone(r.Context())
	get.Method = http.MethodGet
	return s.answers[readKey(get)]
}

// readKey tells reads apart. What an SDK adds to tell requests apart does not.
func readKey(r *http.Request) string {
	query := r.URL.Query()
	for name := range query {
		if name == "x-id" || strings.HasPrefix(strings.ToLower(name), "x-amz-") {
			query.Del(name)
		}
	}
	return r.Method + " " + r.URL.Path + "?" + query.Encode() + " " + r.Header.Get("Range")
}

func isList(r *http.Request) bool {
	query := r.URL.Query()
	return query.Has("list-type") || query.Has("prefix") || query.Get("comp") == "list" || strings.HasSuffix(r.URL.Path, "/o")
}

// isNew reports whether something with the name was created since.
func (s *stale) isNew(name string) bool { return isAmong(s.written, name) && !isAmong(s.old, name) }

// isAmong finds a name among others. The names of requests have the bucket
// before them, those in lists have not.
func isAmong(names []string, name string) bool {
	name = "/" + strings.TrimPrefix(name, "/")
	return slices.ContainsFunc(names, func(other string) bool {
		return strings.HasSuffix(other, name) || strings.HasSuffix(name, other)
	})
}

var (
	listedItem = regexp.MustCompile(`(?s)<Contents>.*?</Contents>|<Blob>.*?</Blob>`)
	listedName = regexp.MustCompile(`<(?:Key|Name)>([^<]*)</(?:Key|Name)>`)
)

// without is a list without what was written since.
func (s *stale) without(list *answer) *answer {
	body := listedItem.ReplaceAllFunc(list.body, func(item []byte) []byte {
		if name := listedName.FindSubmatch(item); name != nil && s.isListedNew(string(name[1])) {
			return nil
		}
		return item
	})
	var page map[string]any
	if json.Unmarshal(list.body, &page) == nil {
		items, _ := page["items"].([]any)
		page["items"] = slices.DeleteFunc(items, func(item any) bool {
			object, _ := item.(map[string]any)
			name, _ := object["name"].(string)
			return s.isNew(name)
		})
		if encoded, err := json.Marshal(page); err == nil {
			body = encoded
		}
	}
	header := list.header.Clone()
	header.Set("Content-Length", strconv.Itoa(len(body)))
	return &answer{list.status, header, body}
}

// isListedNew is isNew for a name that may be escaped as in a URL.
func (s *stale) isListedNew(name string) bool {
	if plain, err := url.QueryUnescape(name); err == nil && s.isNew(plain) {
		return true
	}
	return s.isNew(name)
}
