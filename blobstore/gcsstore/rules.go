package gcsstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// settings are what a bucket is set to, as far as it was asked for. Rules stay as
// they are: their conditions that this package does not know are not forgotten when
// they are written back.
type settings struct {
	Metageneration string
	Versioning     struct{ Enabled bool }
	Lifecycle      struct{ Rule []json.RawMessage }
}

// settings reads some of a bucket's settings.
func (a api) settings(ctx context.Context, fields string) (settings, error) {
	return answered[settings](ctx, a, http.MethodGet, a.bucketURL(), url.Values{"fields": {fields}}, nil)
}

// ruleSet is all lifecycle rules of a bucket, as they are.
type ruleSet struct {
	metageneration string
	rules          []json.RawMessage
}

// rules reads the rules.
func (a api) rules(ctx context.Context) (ruleSet, error) {
	bucket, err := a.settings(ctx, "metageneration,lifecycle")
	return ruleSet{bucket.Metageneration, bucket.Lifecycle.Rule}, err
}

// replaceRules writes the rules, provided that nothing about the bucket has changed
// since they were read; if something has, it is a precondition that failed.
func (a api) replaceRules(ctx context.Context, set ruleSet) error {
	if set.metageneration == "" {
		return errors.New("the store's answer names no metageneration")
	}
	var bucket struct {
		Lifecycle struct {
			Rule []json.RawMessage `json:"rule"`
		} `json:"lifecycle"`
	}
	bucket.Lifecycle.Rule = append([]json.RawMessage{}, set.rules...) // an empty list is [], which removes all
	document, err := json.Marshal(bucket)
	if err != nil {
		return fmt.Errorf("encode lifecycle rules: %w", err)
	}
	query := url.Values{"ifMetagenerationMatch": {set.metageneration}, "fields": {"metageneration"}}
	_, err = answered[settings](ctx, a, http.MethodPatch, a.bucketURL(), query, document)
	return err
}
