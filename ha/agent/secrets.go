package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/account"
	"github.com/understudy-ha/understudy/ha/webhook"
)

// secretsPurpose is what the sealed part of the shared configuration is sealed
// for.
const secretsPurpose = "shared secrets"

// secrets is the part of the shared configuration that only holders of the key
// may read. Members that this version does not know are kept when it is written
// again.
type secrets struct {
	Users    []account.User `json:"users,omitempty"`    // of the console
	Webhooks []webhook.Hook `json:"webhooks,omitempty"` // outgoing

	others map[string]json.RawMessage
}

// knownSecrets are the members that secrets itself has.
var knownSecrets = []string{"users", "webhooks"}

// UnmarshalJSON reads the members that are known, and keeps the others.
func (s *secrets) UnmarshalJSON(text []byte) error {
	type plain secrets
	if err := json.Unmarshal(text, (*plain)(s)); err != nil {
		return err
	}
	if err := json.Unmarshal(text, &s.others); err != nil {
		return err
	}
	for _, name := range knownSecrets {
		delete(s.others, name)
	}
	return nil
}

// MarshalJSON writes the known members and the others.
func (s secrets) MarshalJSON() ([]byte, error) {
	type plain secrets
	text, err := json.Marshal(plain(s))
	if err != nil || len(s.others) == 0 {
		return text, err
	}
	all := maps.Clone(s.others)
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	return json.Marshal(all)
}

// openSecrets opens the sealed part of a configuration.
func (b *Bucket) openSecrets(c *ha.Config) (secrets, error) {
	var s secrets
	if c.Secrets == "" {
		return s, nil
	}
	text, err := b.ring.OpenConfig(b.cluster, secretsPurpose, c.Secrets)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("read %s: %w", secretsPurpose, err)
	}
	return s, nil
}

// CheckSecrets is an error unless the bucket's keys open the sealed part of a
// configuration.
func (b *Bucket) CheckSecrets(c *ha.Config) error {
	_, err := b.openSecrets(c)
	return err
}

// secrets opens the sealed part of the configuration in force; what it gives
// is empty while none is known. It asks nobody.
func (a *Agent) secrets() (secrets, error) {
	_, c := a.configs.current()
	if c == nil {
		return secrets{}, nil
	}
	return a.bucket.openSecrets(c)
}

// changeSecrets changes the sealed part of the shared configuration and waits
// until it is in force.
func (a *Agent) changeSecrets(ctx context.Context, text string, change func(*secrets) error) error {
	return a.changeConfig(ctx, text, func(c *ha.Config) error {
		s, err := a.bucket.openSecrets(c)
		if err != nil {
			return err
		}
		s.Users, s.Webhooks = slices.Clone(s.Users), slices.Clone(s.Webhooks)
		if err := change(&s); err != nil {
			return err
		}
		c.Secrets, err = sealSecrets(a.cfg, a.bucket.Cluster(), s)
		return err
	})
}

func sealSecrets(cfg Config, cluster string, s secrets) (string, error) {
	plain, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("write %s: %w", secretsPurpose, err)
	}
	return cfg.Ring.SealConfig(cluster, secretsPurpose, plain, cfg.Random)
}

// resealSecrets brings the sealed part under the keys of this instance's ring.
func (a *Agent) resealSecrets(c *ha.Config) (err error) {
	if c.Secrets != "" {
		c.Secrets, err = a.cfg.Ring.ResealConfig(a.bucket.Cluster(), secretsPurpose, c.Secrets, a.cfg.Random)
	}
	return err
}
