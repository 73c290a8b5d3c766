package azstore

import (
	"bytes"
	"encoding/xml"
	"errors"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
)

// translator gives errors of the store's their kinds and words.
var translator = edge.Translator{
	Kind:  kindOf,
	Words: func(_ string, err error) error { return brief(err) },
}

// codeKinds are the kinds of those answers whose status means something else.
// All are refusals: what was asked for has not happened.
var codeKinds = map[bloberror.Code]error{
	bloberror.BlobAlreadyExists: blobstore.ErrPrecondition,

	bloberror.ContainerNotFound:     blobstore.ErrInvalid,
	bloberror.ContainerBeingDeleted: blobstore.ErrInvalid,
	bloberror.BlobArchived:          blobstore.ErrInvalid,
	bloberror.BlobBeingRehydrated:   blobstore.ErrInvalid,
	bloberror.InvalidBlobType:       blobstore.ErrInvalid,
	bloberror.ResourceTypeMismatch:  blobstore.ErrInvalid,

	bloberror.InvalidAuthenticationInfo:        blobstore.ErrDenied,
	bloberror.ContainerDisabled:                blobstore.ErrDenied,
	bloberror.BlobImmutableDueToPolicy:         blobstore.ErrDenied,
	bloberror.SnapshotsPresent:                 blobstore.ErrDenied,
	bloberror.LeaseIDMissing:                   blobstore.ErrDenied,
	bloberror.LeaseIDMismatchWithBlobOperation: blobstore.ErrDenied,
}

func kindOf(err error) error {
	var noCredentials *credentialsError
	var answer *azcore.ResponseError
	switch {
	case edge.GivenUp(err):
		return blobstore.ErrUnavailable
	case errors.As(err, &noCredentials):
		return noCredentials.kind()
	case errors.Is(err, errHierarchy):
		return blobstore.ErrInvalid
	case !errors.As(err, &answer):
		return blobstore.ErrUnavailable
	}
	if kind, ok := codeKinds[bloberror.Code(answer.ErrorCode)]; ok {
		return kind
	}
	return edge.Kind(answer.StatusCode)
}

// errorStatus returns the status of the store's answer, or 0 without one.
func errorStatus(err error) int {
	var answer *azcore.ResponseError
	if errors.As(err, &answer) {
		return answer.StatusCode
	}
	return 0
}

// brief says in one line what the store answered, or why no answer came.
func brief(err error) error {
	var noCredentials *credentialsError
	var answer *azcore.ResponseError
	switch {
	case errors.As(err, &noCredentials):
		return edge.Say(err, "%s", edge.OneLine(noCredentials.Error()))
	case !errors.As(err, &answer):
		return err
	}
	said := message(answer)
	switch {
	case said == "":
		return edge.Say(err, "%s", strings.TrimSpace(answer.ErrorCode+" "+edge.StatusText(answer.StatusCode)))
	case answer.ErrorCode == "":
		return edge.Say(err, "%s", said)
	}
	return edge.Say(err, "%s: %s", answer.ErrorCode, said)
}

// message returns the words of an answer for people, or "". The lines after
// the first are the request's id and time.
func message(answer *azcore.ResponseError) string {
	if answer.RawResponse == nil {
		return ""
	}
	body, err := runtime.Payload(answer.RawResponse) // kept since the error was made
	if err != nil {
		return ""
	}
	var said struct {
		XMLName xml.Name `xml:"Error"`
		Message string
		Detail  string `xml:"AuthenticationErrorDetail"`
	}
	if xml.Unmarshal(bytes.TrimPrefix(body, []byte("\ufeff")), &said) != nil {
		return ""
	}
	first, _, _ := strings.Cut(strings.TrimSpace(said.Message), "\n")
	// Other details quote signatures.
	if strings.HasPrefix(said.Detail, clockDetail) {
		first += " " + said.Detail
	}
	return edge.OneLine(first)
}

// clockDetail begins the complaint that this host's clock is off.
const clockDetail = "Request date header"
