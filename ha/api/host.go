package api

import (
	"context"
	"net/http"
	"net/url"
)

// Place is where this host keeps what a command needs that is to work without its agent.
type Place struct {
	Bucket  string `json:"bucket" doc:"URL of the bucket, without a password"`
	KeyFile string `json:"key_file,omitempty" doc:"on this host; empty: the key is no file here"`
	Config  string `json:"config,omitempty" doc:"the YAML file of this host: sources, hooks, rehearsals"`
}

type placeOutput struct{ Body Place }

// addHost adds what is known of this host alone.
func (a *api) addHost(p Place) {
	p = p.public()
	register(a, operation("get-host", http.MethodGet, "/api/v1/host", "Where bucket, key and configuration of this host are: what a restore by hand is told"),
		func(context.Context, *struct{}) (*placeOutput, error) { return &placeOutput{Body: p}, nil })
}

// public is the place without a password in the bucket's URL.
func (p Place) public() Place {
	if u, err := url.Parse(p.Bucket); err == nil {
		p.Bucket = u.Redacted()
	}
	return p
}
