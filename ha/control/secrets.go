package control

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/account"
	"github.com/understudy-ha/understudy/ha/webhook"
)

// secretsPurpose is what the sealed part of the shared configuration is sealed
// for.
const secretsPurpose = "shared secrets"

// Secrets is the part of the shared configuration that only holders of the key
// may read. Members that this version does not know are kept when it is written
// again.
type Secrets struct {
	Users    []account.User `json:"users,omitempty"`    // of the console
	Webhooks []webhook.Hook `json:"webhooks,omitempty"` // outgoing

	others map[string]json.RawMessage
}

// knownSecrets are the members that Secrets itself has.
var knownSecrets = []string{"users", "webhooks"}

// UnmarshalJSON reads the members that are known, and keeps the others.
func (s *Secrets) UnmarshalJSON(text []byte) error {
	type plain Secrets
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
func (s Secrets) MarshalJSON() ([]byte, error) {
	type plain Secrets
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

// OpenSecrets opens the sealed part of a configuration.
func (s *Store) OpenSecrets(c *ha.Config) (opened Secrets, err error) {
	if c.Secrets == "" {
		return opened, nil
	}
	text, err := s.ring.OpenConfig(s.cluster, secretsPurpose, c.Secrets)
	if err != nil {
		return opened, err
	}
	if err := json.Unmarshal(text, &opened); err != nil {
		return opened, fmt.Errorf("read %s: %w", secretsPurpose, err)
	}
	return opened, nil
}

// CheckSecrets is an error unless the bucket's keys open the sealed part of a
// configuration.
func (s *Store) CheckSecrets(c *ha.Config) error {
	_, err := s.OpenSecrets(c)
	return err
}

// SealSecrets seals the part of a configuration that only holders of the key may read.
func (s *Store) SealSecrets(plain Secrets, random io.Reader) (string, error) {
	text, err := json.Marshal(plain)
	if err != nil {
		return "", fmt.Errorf("write %s: %w", secretsPurpose, err)
	}
	return s.ring.SealConfig(s.cluster, secretsPurpose, text, random)
}

// Reseal brings the data keys and the sealed part of a configuration under the keys
// of this ring.
func (s *Store) Reseal(c *ha.Config, random io.Reader) (err error) {
	if c.DataKey, err = s.ring.Rewrap(c.DataKey, s.cluster, random); err != nil {
		return err
	}
	if c.Secrets != "" {
		c.Secrets, err = s.ring.ResealConfig(s.cluster, secretsPurpose, c.Secrets, random)
	}
	return err
}
