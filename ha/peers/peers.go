package peers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/membership"
	"github.com/understudy-ha/understudy/ha/shared"
	"github.com/understudy-ha/understudy/ha/webhook"
)

// Host is the instance that has peers.
type Host struct {
	Self    ha.Peer
	Version string // of this program
	Control *control.Store
	Configs *shared.Configs
	Records *shared.Records
	View    func() ha.Status // of the machine, as of its last step
	Ring    *seal.Ring
	Clock   clock.Clock
	Random  io.Reader
	HTTP    *http.Client
	Log     event.Reporter
}

// urls are those of the other instances.
func (h Host) urls() []string {
	_, config := h.Configs.Current()
	seen := map[string]bool{"": true, h.Self.URL: true}
	var urls []string
	add := func(u string) {
		if u = strings.TrimSuffix(u, "/"); !seen[u] {
			seen[u] = true
			urls = append(urls, u)
		}
	}
	for name, r := range h.Records.Reading().Rows {
		if r.Record != nil && name != h.Self.Name && !config.Removed(name) {
			add(r.Record.URL)
		}
	}
	if config != nil {
		for _, m := range config.Instances {
			if !m.Removed && m.Name != h.Self.Name {
				add(m.URL)
			}
		}
	}
	return urls
}

// others are all instances that are known to this one: by their records, by the
// configurations that were in force, by the heads.
func (h Host) others() []ha.Peer {
	known := map[string]string{}
	add := func(name, url string) {
		if name != "" && name != h.Self.Name && known[name] == "" {
			known[name] = url
		}
	}
	_, config := h.Configs.Current()
	for name, r := range h.Records.Reading().Rows {
		if r.Record != nil {
			add(name, r.Record.URL)
		} else {
			add(name, "")
		}
	}
	if config != nil {
		for _, m := range config.Instances {
			add(m.Name, m.URL)
		}
	}
	if o := h.View().Older; o != nil {
		add(o.Seen.Active.Name, o.Seen.Active.URL)
		add(o.Head.Active.Name, o.Head.Active.URL)
	}
	var all []ha.Peer
	for name, url := range known {
		if !config.Removed(name) {
			all = append(all, ha.Peer{Name: name, URL: url})
		}
	}
	slices.SortFunc(all, func(x, y ha.Peer) int { return strings.Compare(x.Name, y.Name) })
	return all
}

// message is a signed request to the peer at a URL, and its id.
func (h Host) message(ctx context.Context, to, path string, body []byte) (req *http.Request, id string, err error) {
	id, err = membership.RandomHex(h.Random, 12)
	if err != nil {
		return nil, "", err
	}
	id = "msg_" + id
	hook, err := webhooks.NewWebhookRaw(h.Ring.NotificationSecret(h.Control.Cluster()))
	if err != nil {
		return nil, "", fmt.Errorf("sign message: %w", err)
	}
	req, err = webhook.Signed(ctx, hook, strings.TrimSuffix(to, "/")+path, id, body, h.Clock.Now().Wall, h.Version)
	return req, id, err
}

// send sends a message. Its error does not name the URL, which whoever sends it does.
func (h Host) send(req *http.Request) (*http.Response, error) {
	resp, err := h.HTTP.Do(req)
	var e *url.Error
	if errors.As(err, &e) {
		err = e.Err
	}
	return resp, err
}

// verify checks a message's Standard Webhooks signature, by any key that this instance
// knows.
func (h Host) verify(header http.Header, body []byte) error {
	err := errors.New("no key")
	for _, secret := range h.Ring.NotificationSecrets(h.Control.Cluster()) {
		var hook *webhooks.Webhook
		if hook, err = webhooks.NewWebhookRaw(secret); err != nil {
			break
		}
		if err = hook.Verify(body, header); err == nil {
			return nil
		}
	}
	return fmt.Errorf("verify notification: %w", err)
}
