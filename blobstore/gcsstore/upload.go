package gcsstore

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"sync"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is the checksum of a body as Google writes it.
func checksum(crc uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc))
}

// insert writes an object in one request, which names the body's checksum. match is
// the generation that it is to replace: 0 for none, negative for any.
func (a api) insert(ctx context.Context, name string, body []byte, match int64) (object, error) {
	query := url.Values{"uploadType": {"multipart"}, "fields": {objectFields}}
	if match >= 0 {
		query.Set("ifGenerationMatch", strconv.FormatInt(match, 10))
	}
	around, err := surround(map[string]string{
		"name":        name,
		"contentType": "application/octet-stream",
		"crc32c":      checksum(crc32.Checksum(body, castagnoli)),
		// In a bucket that everybody may read Google would else serve a stale head
		// for an hour, and compress on the way what it thinks is worth it.
		"cacheControl": "no-store, no-transform",
	})
	if err != nil {
		return object{}, err
	}
	to := a.endpoint + "/upload/storage/v1/b/" + url.PathEscape(a.bucket) + "/o?" + query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, http.NoBody)
	if err != nil {
		return object{}, err
	}
	lent := new(loan)
	defer lent.end()
	req.Header.Set("Content-Type", "multipart/related; boundary="+around.boundary)
	req.ContentLength = int64(len(around.before) + len(body) + len(around.after))
	whole := func() io.ReadCloser {
		return lent.to(io.MultiReader(bytes.NewReader(around.before), bytes.NewReader(body), bytes.NewReader(around.after)))
	}
	req.Body = whole()
	req.GetBody = func() (io.ReadCloser, error) { return whole(), nil }
	resp, err := a.do(req)
	if err != nil {
		return object{}, err
	}
	defer resp.Body.Close()
	return decode[object](resp.Body)
}

// parts are what is sent before and after an object's body.
type parts struct {
	boundary      string
	before, after []byte
}

// surround makes the parts of an upload: the object's attributes come first.
func surround(attributes map[string]string) (parts, error) {
	document, err := json.Marshal(attributes)
	if err != nil {
		return parts{}, fmt.Errorf("encode attributes: %w", err)
	}
	var text bytes.Buffer
	w := multipart.NewWriter(&text)
	first, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {"application/json; charset=UTF-8"}})
	if err == nil {
		_, err = first.Write(document)
	}
	if err == nil {
		_, err = w.CreatePart(textproto.MIMEHeader{"Content-Type": {attributes["contentType"]}})
	}
	before := text.Len()
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return parts{}, fmt.Errorf("encode upload: %w", err)
	}
	return parts{w.Boundary(), text.Bytes()[:before], text.Bytes()[before:]}, nil
}

// loan is of a body to requests, which may read it for a while after they have been
// answered: until the loan ends, and no longer.
type loan struct {
	mu    sync.Mutex
	ended bool
}

// to lends what r reads.
func (l *loan) to(r io.Reader) io.ReadCloser { return &lentBody{loan: l, from: r} }

func (l *loan) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
}

type lentBody struct {
	loan *loan
	from io.Reader
}

// Read implements io.Reader.
func (b *lentBody) Read(p []byte) (int, error) {
	b.loan.mu.Lock()
	defer b.loan.mu.Unlock()
	if b.loan.ended {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.from.Read(p)
}

// Close implements io.Closer.
func (b *lentBody) Close() error { return nil }
