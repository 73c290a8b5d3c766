package s3api

import (
	"bytes"
	"encoding/xml"
	"fmt"
)

const (
	namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
	enabled   = "Enabled"
)

// document is a bucket's rules.
type document struct {
	XMLName xml.Name `xml:"LifecycleConfiguration"`
	Rules   []rule   `xml:"Rule"`
}

// rule is what this package knows of a rule, and the text of all of it.
type rule struct {
	ID       string
	Status   string
	Prefix   *string // the older form of Filter
	Filter   *filter
	Expires  expiration     `xml:"Expiration"`
	All      allVersions    `xml:"AllVersionsExpiration"` // MinIO's
	Old      noncurrent     `xml:"NoncurrentVersionExpiration"`
	Uploads  abortedUploads `xml:"AbortIncompleteMultipartUpload"`
	Verbatim []byte         `xml:",innerxml"`
}

type filter struct {
	Prefix *string
	And    *and
	conditions
}

type and struct {
	Prefix *string
	conditions
}

// conditions narrow a rule.
type conditions struct {
	Tag         []struct{ Key string }
	LessThan    *int64 `xml:"ObjectSizeLessThan"`
	GreaterThan *int64 `xml:"ObjectSizeGreaterThan"`
}

func (c conditions) any() bool {
	return len(c.Tag) > 0 || c.LessThan != nil || c.GreaterThan != nil && *c.GreaterThan > 0
}

type expiration struct {
	Days int
	Date string
}

type allVersions struct{ Days int }

type noncurrent struct {
	Days int `xml:"NoncurrentDays"`
	Keep int `xml:"NewerNoncurrentVersions"`
}

type abortedUploads struct {
	Days int `xml:"DaysAfterInitiation"`
}

// parse reads a document. Nothing at all has no rules.
func parse(text []byte) (*document, error) {
	d := new(document)
	if len(bytes.TrimSpace(text)) == 0 {
		return d, nil
	}
	if err := xml.Unmarshal(text, d); err != nil {
		return nil, fmt.Errorf("parse lifecycle configuration: %w", err)
	}
	return d, nil
}

// encode writes a document, rules as they were.
func (d *document) encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<LifecycleConfiguration xmlns=%q>`, namespace)
	for _, r := range d.Rules {
		fmt.Fprintf(&b, "<Rule>%s</Rule>", r.Verbatim)
	}
	b.WriteString("</LifecycleConfiguration>")
	return b.Bytes()
}

// prefix is of the keys that the rule is about.
func (r *rule) prefix() string {
	switch {
	case r.Filter != nil && r.Filter.Prefix != nil:
		return *r.Filter.Prefix
	case r.Filter != nil && r.Filter.And != nil && r.Filter.And.Prefix != nil:
		return *r.Filter.And.Prefix
	case r.Prefix != nil:
		return *r.Prefix
	}
	return ""
}

func (r *rule) narrowed() bool {
	return r.Old.Keep > 0 || r.Filter != nil && (r.Filter.any() || r.Filter.And != nil && r.Filter.And.any())
}
