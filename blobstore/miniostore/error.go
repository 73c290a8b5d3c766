package miniostore

import (
	"errors"

	"github.com/minio/minio-go/v7"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
	"github.com/understudy-ha/understudy/blobstore/internal/s3api"
)

// brief says what the store answered, or why no answer came.
func brief(err error) error {
	if answer := answered(err); answer.Code != "" {
		return edge.Say(err, "%s: %s", answer.Code, answer.Error())
	}
	return err
}

// translator gives errors of the store's their kinds and words.
var translator = edge.Translator{
	Kind:  kindOf,
	Words: func(op string, err error) error { return s3api.Explain(op, answered(err).Code, brief(err)) },
}

func kindOf(err error) error {
	switch {
	case edge.GivenUp(err):
		return blobstore.ErrUnavailable
	case errors.Is(err, errNoCredentials):
		return blobstore.ErrDenied
	}
	return s3api.Kind(answered(err).Code, answered(err).StatusCode)
}

// answered is what the store answered; zero where no answer came.
func answered(err error) minio.ErrorResponse {
	var answer minio.ErrorResponse
	errors.As(err, &answer)
	return answer
}
