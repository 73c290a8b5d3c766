package main

import (
	"context"
	"io"
	"strings"

	"golang.org/x/time/rate"

	"github.com/understudy-ha/understudy/blobstore"
)

// packsPrefix is where the bulk of the data lies. Control objects and
// manifests are small, and must never wait behind it: a heartbeat that comes
// too late costs the active its role.
const packsPrefix = "packs/"

// limitPiece is the most bytes that are waited for at once.
const limitPiece = 64 << 10

// limit bounds how fast packs are written and read, in bytes per second; 0 is
// no bound.
func limit(s blobstore.Store, upload, download int64) blobstore.Store {
	if upload == 0 && download == 0 {
		return s
	}
	return &limited{Store: s, up: newLimiter(upload), down: newLimiter(download)}
}

// newLimiter is nil for no bound.
func newLimiter(perSecond int64) *rate.Limiter {
	if perSecond == 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(perSecond), limitPiece)
}

// limited is a store whose packs travel no faster than its limiters allow.
type limited struct {
	blobstore.Store
	up, down *rate.Limiter
}

// Put waits until the pack's bytes are allowed, and then writes it at once: a
// pack is one request.
func (l *limited) Put(ctx context.Context, key string, body []byte, cond blobstore.Condition) (blobstore.Attrs, error) {
	if l.up != nil && strings.HasPrefix(key, packsPrefix) {
		if err := await(ctx, l.up, len(body)); err != nil {
			return blobstore.Attrs{}, &blobstore.Error{Op: "put", Key: key, Kind: blobstore.ErrUnavailable, Err: err}
		}
	}
	return l.Store.Put(ctx, key, body, cond)
}

// Get gives a body that is read no faster than allowed.
func (l *limited) Get(ctx context.Context, key string, opt blobstore.GetOptions) (io.ReadCloser, blobstore.Attrs, error) {
	body, attrs, err := l.Store.Get(ctx, key, opt)
	if err != nil || l.down == nil || !strings.HasPrefix(key, packsPrefix) {
		return body, attrs, err
	}
	return &limitedBody{ReadCloser: body, ctx: ctx, limiter: l.down}, attrs, nil
}

type limitedBody struct {
	io.ReadCloser
	ctx     context.Context
	limiter *rate.Limiter
}

func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p[:min(len(p), limitPiece)])
	if waited := await(b.ctx, b.limiter, n); waited != nil && err == nil {
		err = waited
	}
	return n, err
}

// await waits until n bytes are allowed.
func await(ctx context.Context, l *rate.Limiter, n int) error {
	for n > 0 {
		piece := min(n, limitPiece)
		if err := l.WaitN(ctx, piece); err != nil {
			return err
		}
		n -= piece
	}
	return nil
}
