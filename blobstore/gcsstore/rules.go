package gcsstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"google.golang.org/api/googleapi"
)

// rules reads and replaces a bucket's lifecycle rules. It speaks JSON itself:
// the SDK knows some conditions, forgets the others, and so would widen what
// somebody else's rule deletes when it writes it back.
type rules struct {
	web *http.Client
	url string // of the bucket
}

// ruleSet is all rules of a bucket, as they are.
type ruleSet struct {
	metageneration string
	rules          []json.RawMessage
}

// maxRuleSet is more than Google lets a bucket have.
const maxRuleSet = 4 << 20

// get reads the rules.
func (r rules) get(ctx context.Context) (ruleSet, error) {
	var bucket struct {
		Metageneration string
		Lifecycle      struct{ Rule []json.RawMessage }
	}
	query := url.Values{"fields": {"metageneration,lifecycle"}}
	if err := r.do(ctx, http.MethodGet, query, nil, &bucket); err != nil {
		return ruleSet{}, err
	}
	return ruleSet{bucket.Metageneration, bucket.Lifecycle.Rule}, nil
}

// replace writes the rules, provided that nothing about the bucket has changed
// since they were read; if something has, it is a precondition that failed.
func (r rules) replace(ctx context.Context, set ruleSet) error {
	if set.metageneration == "" {
		return errors.New("the store's answer names no metageneration")
	}
	var bucket struct {
		Lifecycle struct {
			Rule []json.RawMessage `json:"rule"`
		} `json:"lifecycle"`
	}
	bucket.Lifecycle.Rule = append([]json.RawMessage{}, set.rules...) // an empty list is [], which removes all
	body, err := json.Marshal(bucket)
	if err != nil {
		return fmt.Errorf("encode lifecycle rules: %w", err)
	}
	query := url.Values{"ifMetagenerationMatch": {set.metageneration}, "fields": {"metageneration"}}
	return r.do(ctx, http.MethodPatch, query, body, nil)
}

// do sends one request about the bucket and decodes the answer.
func (r rules) do(ctx context.Context, method string, query url.Values, body []byte, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, r.url+"?"+query.Encode(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := r.web.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := googleapi.CheckResponse(resp); err != nil {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxRuleSet))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(data, answer); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}
