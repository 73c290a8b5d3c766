package gcsstore

import (
	"context"
	"errors"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
)

// maxRefusal is as much as is read of an answer that refuses.
const maxRefusal = 64 << 10

var (
	errGarbled = errors.New("the body is not the one whose checksum came with it")
	// errNoGeneration is an answer of which no token can be made.
	errNoGeneration = errors.New("the store's answer names no generation")
)

// download is a body, and what its answer says of the object.
type download struct {
	io.ReadCloser
	size, generation int64
	modified         time.Time
}

// download reads what opt asks for of an object: of its current generation if 0 is
// given. It asks the XML API, whose answer alone says when the generation was made.
// The bytes come as they are stored, whatever encoding somebody has given them.
func (a api) download(ctx context.Context, name string, generation int64, opt blobstore.GetOptions) (download, error) {
	to := a.endpoint + (&url.URL{Path: "/" + a.bucket + "/" + name}).EscapedPath()
	if generation != 0 {
		to += "?generation=" + strconv.FormatInt(generation, 10)
	}
	header := http.Header{"Accept-Encoding": {"gzip"}}
	if part := edge.Range(opt); part != "" {
		header.Set("Range", part)
	}
	resp, err := a.send(ctx, http.MethodGet, to, header, nil)
	if err != nil {
		return download{}, err
	}
	d, err := describeDownload(resp, opt)
	if err != nil {
		return download{}, errors.Join(err, resp.Body.Close())
	}
	return d, nil
}

func describeDownload(resp *http.Response, opt blobstore.GetOptions) (d download, err error) {
	if d.generation, err = strconv.ParseInt(resp.Header.Get("X-Goog-Generation"), 10, 64); err != nil || d.generation <= 0 {
		return d, errNoGeneration
	}
	if text := resp.Header.Get("Last-Modified"); text != "" {
		if d.modified, err = http.ParseTime(text); err != nil {
			return d, err
		}
	}
	d.ReadCloser = resp.Body
	part := resp.Header.Get("Content-Range")
	if d.size, err = edge.WholeSize(opt, part, resp.ContentLength); err != nil || part != "" {
		return d, err
	}
	if want, ok := storedChecksum(resp.Header); ok {
		d.ReadCloser = &checkedBody{ReadCloser: resp.Body, want: want}
	}
	return d, nil
}

// storedChecksum finds the checksum of the bytes that are stored.
func storedChecksum(header http.Header) (sum string, ok bool) {
	for _, value := range header.Values("X-Goog-Hash") {
		for each := range strings.SplitSeq(value, ",") {
			if sum, ok := strings.CutPrefix(strings.TrimSpace(each), "crc32c="); ok {
				return sum, true
			}
		}
	}
	return "", false
}

// checkedBody is a whole body that fails at its end if it is not what was stored.
type checkedBody struct {
	io.ReadCloser
	want string
	crc  uint32
}

// Read implements io.Reader.
func (b *checkedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.crc = crc32.Update(b.crc, castagnoli, p[:n])
	if err == io.EOF && checksum(b.crc) != b.want {
		err = errGarbled
	}
	return n, err
}
