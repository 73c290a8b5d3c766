package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Problem is an answer that says no: an RFC 9457 problem document.
type Problem struct {
	Type   string        `json:"type,omitempty"`
	Title  string        `json:"title"`  // the same for all problems of this status
	Status int           `json:"status"` // of the HTTP response
	Detail string        `json:"detail,omitempty"`
	Errors []FieldDetail `json:"errors,omitempty"` // what is wrong with which part of the request
}

// Types of problems whose status alone does not tell what they are: both are 503,
// as is a bucket that cannot be used.
const (
	TypeStopping = "urn:understudy:problem:stopping" // the agent is about to end
	TypeSetUp    = "urn:understudy:problem:set-up"   // the agent belongs to no cluster yet
)

// FieldDetail is what is wrong with one part of a request.
type FieldDetail struct {
	Message  string `json:"message"`
	Location string `json:"location,omitempty"` // "body.frequency"
}

// Error is the detail, and what is wrong with which field.
func (p *Problem) Error() string {
	text := p.Detail
	if text == "" {
		text = fmt.Sprintf("%d %s", p.Status, p.Title)
	}
	fields := make([]string, len(p.Errors))
	for i, e := range p.Errors {
		fields[i] = e.Message
		if e.Location != "" {
			fields[i] = e.Location + ": " + e.Message
		}
	}
	if len(fields) > 0 {
		text += ": " + strings.Join(fields, "; ")
	}
	return text
}

// Refused reports whether the request was understood and not carried out
// because it would be unsafe, or is not for this instance's role. Nothing has
// changed.
func (p *Problem) Refused() bool { return p.Status == http.StatusConflict }

// Refused reports whether err is a Problem that is Refused.
func Refused(err error) bool {
	var p *Problem
	return errors.As(err, &p) && p.Refused()
}

// maxProblem is the most bytes that are read of an answer that says no.
const maxProblem = 64 << 10

// readProblem makes an error of a response that is no success. One that is no
// problem document (from a proxy, say) keeps its status.
func readProblem(resp *http.Response) error {
	p := &Problem{}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	if err != nil || json.Unmarshal(data, p) != nil {
		p = &Problem{}
	}
	p.Status = resp.StatusCode
	if p.Title == "" {
		p.Title = http.StatusText(resp.StatusCode)
	}
	return p
}
