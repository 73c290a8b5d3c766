package gcsstore

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"google.golang.org/api/googleapi"
)

const (
	objectFields = "name,size,generation,timeCreated"
	listFields   = "nextPageToken,items(" + objectFields + ",timeDeleted)"
	// maxAnswer is more than a page of a list is long, or a bucket's rules.
	maxAnswer = 16 << 20
)

// api is what this package asks of Google's JSON API: each method is one request. An
// answer that refuses is a *googleapi.Error.
type api struct {
	web      *http.Client
	endpoint string // scheme and host
	bucket   string
}

// object is one generation of an object.
type object struct {
	Name        string
	Size        int64 `json:",string"`
	Generation  int64 `json:",string"`
	TimeCreated time.Time
	TimeDeleted time.Time // zero: it is the current one
}

func (a api) bucketURL() string { return a.endpoint + "/storage/v1/b/" + url.PathEscape(a.bucket) }

func (a api) objectURL(name string) string { return a.bucketURL() + "/o/" + url.PathEscape(name) }

// stat describes an object; unless 0 is given, only if its generation is another than
// that.
func (a api) stat(ctx context.Context, name string, seen int64) (object, error) {
	query := url.Values{"fields": {objectFields}}
	if seen != 0 {
		query.Set("ifGenerationNotMatch", strconv.FormatInt(seen, 10))
	}
	return answered[object](ctx, a, http.MethodGet, a.objectURL(name), query, nil)
}

// delete removes an object.
func (a api) delete(ctx context.Context, name string) error {
	resp, err := a.send(ctx, http.MethodDelete, a.objectURL(name), nil, nil)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// list yields what the query asks for, page by page.
func (a api) list(ctx context.Context, query url.Values) iter.Seq2[object, error] {
	return func(yield func(object, error) bool) {
		query.Set("fields", listFields)
		for {
			page, err := answered[struct {
				NextPageToken string
				Items         []object
			}](ctx, a, http.MethodGet, a.bucketURL()+"/o", query, nil)
			if err != nil {
				yield(object{}, err)
				return
			}
			for _, item := range page.Items {
				if !yield(item, nil) {
					return
				}
			}
			if page.NextPageToken == "" {
				return
			}
			query.Set("pageToken", page.NextPageToken)
		}
	}
}

// answered sends a request with a JSON document, or none, and decodes its answer.
func answered[T any](ctx context.Context, a api, method, to string, query url.Values, document []byte) (answer T, err error) {
	header := http.Header{}
	if document != nil {
		header.Set("Content-Type", "application/json")
	}
	resp, err := a.send(ctx, method, to+"?"+query.Encode(), header, document)
	if err != nil {
		return answer, err
	}
	defer resp.Body.Close()
	return decode[T](resp.Body)
}

func decode[T any](body io.Reader) (answer T, err error) {
	data, err := io.ReadAll(io.LimitReader(body, maxAnswer))
	if err == nil {
		err = json.Unmarshal(data, &answer)
	}
	if err != nil {
		return answer, fmt.Errorf("read answer: %w", err)
	}
	return answer, nil
}

// send sends a request. The caller closes the answer's body.
func (a api) send(ctx context.Context, method, to string, header http.Header, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, to, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if header != nil {
		req.Header = header
	}
	return a.do(req)
}

func (a api) do(req *http.Request) (*http.Response, error) {
	resp, err := a.web.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		defer resp.Body.Close()
		resp.Body = io.NopCloser(io.LimitReader(resp.Body, maxRefusal))
		return nil, googleapi.CheckResponse(resp)
	}
	return resp, nil
}
