package gcsstore

import (
	"encoding/xml"
	"errors"
	"strings"

	"google.golang.org/api/googleapi"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
)

// translator gives errors of the store's their kinds and words.
var translator = edge.Translator{
	Kind:  kindOf,
	Words: func(_ string, err error) error { return brief(err) },
}

// limitReasons are what Google calls too many requests when it answers 403.
var limitReasons = map[string]bool{
	"rateLimitExceeded":     true,
	"userRateLimitExceeded": true,
}

// noBucket is in the message of a 404 that is not about a blob.
const noBucket = "bucket does not exist"

func kindOf(err error) error {
	var noCredentials *credentialsError
	answer := answerOf(err)
	switch {
	case edge.GivenUp(err):
		return blobstore.ErrUnavailable
	case errors.As(err, &noCredentials):
		return noCredentials.kind()
	case strings.Contains(answer.message, noBucket):
		return blobstore.ErrInvalid
	case limitReasons[answer.reason]:
		return blobstore.ErrUnavailable
	}
	return edge.Kind(answer.status)
}

// brief says what the store answered, or why no answer came.
func brief(err error) error {
	var noCredentials *credentialsError
	if errors.As(err, &noCredentials) {
		return edge.Say(err, "%s", edge.OneLine(noCredentials.Error()))
	}
	answer := answerOf(err)
	switch {
	case answer.reason != "" && answer.message != "":
		return edge.Say(err, "%s: %s", answer.reason, answer.message)
	case answer.message != "":
		return edge.Say(err, "%s", answer.message)
	case answer.status != 0:
		return edge.Say(err, "%s", edge.StatusText(answer.status))
	}
	return err
}

// answer is what the store said when it refused a request; zero if it did not
// answer.
type answer struct {
	status          int
	reason, message string // may be empty
}

func answerOf(err error) answer {
	var api *googleapi.Error
	if !errors.As(err, &api) {
		return answer{}
	}
	a := answer{status: api.Code, message: api.Message}
	if len(api.Errors) > 0 {
		a.reason = api.Errors[0].Reason
	}
	// Reads are answered in XML.
	var body struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}
	if a.message == "" && xml.Unmarshal([]byte(api.Body), &body) == nil {
		a.reason, a.message = body.Code, body.Message
	}
	a.message = edge.OneLine(a.message)
	return a
}
