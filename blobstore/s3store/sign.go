package s3store

import (
	"context"
	"encoding/hex"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"

	"github.com/understudy-ha/understudy/blobstore"
)

// signHash has a request signed with the hash of its body, if that is known, so that
// the SDK does not read all of it for that. Over TLS the SDK may sign something else,
// and have a checksum follow the body.
func signHash(cond blobstore.Condition) func(*s3.Options) {
	sum, known := cond.KnownHash()
	if !known {
		return func(*s3.Options) {}
	}
	sign := middleware.FinalizeMiddlewareFunc("KnownPayloadHash", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
		return next.HandleFinalize(v4.SetPayloadHash(ctx, hex.EncodeToString(sum[:])), in)
	})
	return s3.WithAPIOptions(func(stack *middleware.Stack) error {
		return stack.Finalize.Add(sign, middleware.Before)
	})
}
