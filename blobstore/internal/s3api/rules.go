package s3api

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/understudy-ha/understudy/blobstore"
)

// maxID is how long a rule's ID may be, in bytes.
const maxID = 255

// Bucket is how a provider reads and writes the document.
type Bucket interface {
	// LoadRules returns the document; nothing if the bucket has no rules.
	LoadRules(ctx context.Context) ([]byte, error)
	// SaveRules replaces the document; nil removes it. What the bucket refuses
	// as it stands is blobstore.ErrInvalid.
	SaveRules(ctx context.Context, document []byte) error
}

// Rules are one store's view of its bucket's rules.
type Rules struct {
	Bucket Bucket
	Prefix string // of all its keys; "", or with a slash at its end
}

// Rules is that of blobstore.Lifecycle.
func (s Rules) Rules(ctx context.Context) ([]blobstore.Rule, error) {
	d, err := s.load(ctx)
	if err != nil {
		return nil, err
	}
	var found []blobstore.Rule
	for i := range d.Rules {
		if e, ok := s.expiry(&d.Rules[i]); ok {
			found = append(found, e)
		}
	}
	return found, nil
}

// SetRules is that of blobstore.Lifecycle. A bucket that refuses rules
// about uploads, or then about noncurrent versions, gets none of those.
func (s Rules) SetRules(ctx context.Context, own []blobstore.Rule) error {
	if err := check(own); err != nil {
		return err
	}
	d, err := s.load(ctx)
	if err != nil {
		return err
	}
	for {
		merged := s.merge(d, own)
		switch {
		case len(merged.Rules) > 0:
			err = s.Bucket.SaveRules(ctx, merged.encode())
		case len(d.Rules) > 0:
			err = s.Bucket.SaveRules(ctx, nil)
		}
		var fewer bool
		if own, fewer = reduce(own); !fewer || !errors.Is(err, blobstore.ErrInvalid) {
			return err
		}
	}
}

func (s Rules) load(ctx context.Context) (*document, error) {
	text, err := s.Bucket.LoadRules(ctx)
	if err != nil {
		return nil, err
	}
	d, err := parse(text)
	if err != nil {
		return nil, &blobstore.Error{Op: "read lifecycle", Kind: blobstore.ErrInvalid, Err: err}
	}
	return d, nil
}

func check(own []blobstore.Rule) error {
	for _, e := range own {
		err := blobstore.CheckPrefix(e.Prefix)
		if err == nil && (e.Days < 0 || e.NoncurrentDays < 0 || e.UploadDays < 0) {
			err = errors.New("a number of days is negative")
		}
		if err != nil {
			return &blobstore.Error{Op: "write lifecycle", Key: e.Prefix, Kind: blobstore.ErrInvalid, Err: err}
		}
	}
	return nil
}

// reduce leaves out what a store is likeliest not to know, if there is any.
func reduce(own []blobstore.Rule) (fewer []blobstore.Rule, less bool) {
	fewer = slices.Clone(own)
	for _, days := range []func(*blobstore.Rule) *int{
		func(e *blobstore.Rule) *int { return &e.UploadDays },
		func(e *blobstore.Rule) *int { return &e.NoncurrentDays },
	} {
		for i := range fewer {
			less = less || *days(&fewer[i]) > 0
			*days(&fewer[i]) = 0
		}
		if less {
			break
		}
	}
	return fewer, less
}

// merge returns the others' rules as they are, and the store's own after them.
func (s Rules) merge(d *document, own []blobstore.Rule) *document {
	merged := new(document)
	for _, r := range d.Rules {
		if !s.owns(r.ID) {
			merged.Rules = append(merged.Rules, r)
		}
	}
	for i, e := range own {
		if deletes(e) {
			merged.Rules = append(merged.Rules, rule{Verbatim: s.encode(e, i+1)})
		}
	}
	return merged
}

// encode writes a rule of the store's own.
func (s Rules) encode(e blobstore.Rule, number int) []byte {
	var b bytes.Buffer
	id := strings.TrimSpace(fmt.Sprintf("%s%d %s", s.ownID(), number, e.Prefix))
	fmt.Fprintf(&b, "<ID>%s</ID><Status>%s</Status><Filter><Prefix>%s</Prefix></Filter>",
		escaped(id[:min(len(id), maxID)]), enabled, escaped(s.Prefix+e.Prefix))
	if e.Days > 0 {
		fmt.Fprintf(&b, "<Expiration><Days>%d</Days></Expiration>", e.Days)
	}
	if e.NoncurrentDays > 0 {
		fmt.Fprintf(&b, "<NoncurrentVersionExpiration><NoncurrentDays>%d</NoncurrentDays></NoncurrentVersionExpiration>", e.NoncurrentDays)
	}
	if e.UploadDays > 0 {
		fmt.Fprintf(&b, "<AbortIncompleteMultipartUpload><DaysAfterInitiation>%d</DaysAfterInitiation></AbortIncompleteMultipartUpload>", e.UploadDays)
	}
	return b.Bytes()
}

func escaped(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder never fails
	return b.String()
}

// ownID is how the IDs of the store's own rules begin. No prefix holds a space.
func (s Rules) ownID() string {
	name := s.Prefix
	if name == "" {
		name = "/"
	}
	return "understudy " + name + " #"
}

func (s Rules) owns(id string) bool { return strings.HasPrefix(id, s.ownID()) }

// expiry is what a rule means for the store; false if nothing.
func (s Rules) expiry(r *rule) (blobstore.Rule, bool) {
	prefix := r.prefix()
	below, within := strings.CutPrefix(prefix, s.Prefix)
	if !within && !strings.HasPrefix(s.Prefix, prefix) || r.Status != enabled {
		return blobstore.Rule{}, false
	}
	if !within {
		below = ""
	}
	e := blobstore.Rule{
		Name:           r.ID,
		Prefix:         below,
		Days:           r.days(),
		NoncurrentDays: r.Old.Days,
		UploadDays:     r.Uploads.Days,
		Own:            s.owns(r.ID),
		Narrowed:       r.narrowed(),
	}
	if r.Old.Keep > 0 {
		e.NoncurrentDays = max(e.NoncurrentDays, 1)
	}
	return e, deletes(e)
}

func deletes(e blobstore.Rule) bool { return e.Days > 0 || e.NoncurrentDays > 0 || e.UploadDays > 0 }

// days is the youngest age at which the rule deletes a current blob; 0: never.
func (r *rule) days() int {
	if r.Expires.Date != "" {
		return 1
	}
	if r.Expires.Days > 0 && r.All.Days > 0 {
		return min(r.Expires.Days, r.All.Days)
	}
	return max(r.Expires.Days, r.All.Days)
}
