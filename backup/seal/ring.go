package seal

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// State is what a key of a ring is used for, besides verifying and unsealing,
// which every key of a ring does.
type State string

// States of a key.
const (
	Added    State = "added"    // known, not used for anything new yet
	Active   State = "active"   // signs, wraps and seals what is new; a ring has exactly one
	Retiring State = "retiring" // goes on signing beside the active one
)

// KeyInfo describes a key of a ring, without its secret.
type KeyInfo struct {
	ID    string `json:"id"`
	State State  `json:"state"`
}

type member struct {
	key   Key
	state State
}

// Ring is the keys that an instance knows, newest first: the active one signs
// and wraps, and every one in force (active or retiring) signs, so that an
// instance with either key can verify. A Ring never changes; its methods give
// new ones.
type Ring struct{ members []member }

// NewRing makes a ring of keys, newest first: the first is active, the others
// are retiring.
func NewRing(keys ...Key) (*Ring, error) {
	members := make([]member, len(keys))
	for i, k := range keys {
		members[i] = member{key: k, state: Retiring}
	}
	if len(members) > 0 {
		members[0].state = Active
	}
	return newRing(members)
}

func newRing(members []member) (*Ring, error) {
	seen := make(map[string]bool, len(members))
	active := 0
	for _, m := range members {
		if m.key.IsZero() {
			return nil, errors.New("make key ring: a key is missing")
		}
		if id := m.key.ID(); seen[id] {
			return nil, fmt.Errorf("make key ring: key %s is in it twice", id)
		}
		seen[m.key.ID()] = true
		if m.state == Active {
			active++
		}
	}
	switch {
	case len(members) == 0:
		return nil, errors.New("make key ring: it has no key")
	case active != 1:
		return nil, fmt.Errorf("make key ring: exactly one key must be active, %d are", active)
	}
	return &Ring{members: members}, nil
}

// Add gives a ring that also knows k, as its newest key, and uses it for
// nothing new yet: the first step of a rotation.
func (r *Ring) Add(k Key) (*Ring, error) {
	return newRing(append([]member{{key: k, state: Added}}, r.members...))
}

// Activate gives a ring in which the key with this id is the active one and
// the one that was is retiring: the second step of a rotation. The caller has
// made sure that every instance knows the key.
func (r *Ring) Activate(id string) (*Ring, error) {
	i, err := r.find(id)
	if err != nil {
		return nil, fmt.Errorf("activate key: %w", err)
	}
	members := slices.Clone(r.members)
	for j := range members {
		if members[j].state == Active {
			members[j].state = Retiring
		}
	}
	members[i].state = Active
	return newRing(members)
}

// Retire gives a ring without the key with this id, which must not be the
// active one.
func (r *Ring) Retire(id string) (*Ring, error) {
	i, err := r.find(id)
	if err != nil {
		return nil, fmt.Errorf("retire key: %w", err)
	}
	if r.members[i].state == Active {
		return nil, fmt.Errorf("retire key: key %s is the active one: activate another first", id)
	}
	return newRing(slices.Delete(slices.Clone(r.members), i, i+1))
}

// find gives the position of the key with this id.
func (r *Ring) find(id string) (int, error) {
	i := slices.IndexFunc(r.members, func(m member) bool { return m.key.ID() == id })
	if i < 0 {
		return 0, fmt.Errorf("%w %s: this instance has %s", ErrUnknownKey, id, r)
	}
	return i, nil
}

// IDs lists the key ids, newest first.
func (r *Ring) IDs() []string {
	ids := make([]string, len(r.members))
	for i, m := range r.members {
		ids[i] = m.key.ID()
	}
	return ids
}

// Keys describes the keys, newest first.
func (r *Ring) Keys() []KeyInfo {
	infos := make([]KeyInfo, len(r.members))
	for i, m := range r.members {
		infos[i] = KeyInfo{ID: m.key.ID(), State: m.state}
	}
	return infos
}

// active gives the key that everything new is under.
func (r *Ring) active() Key {
	i := slices.IndexFunc(r.members, func(m member) bool { return m.state == Active })
	return r.members[i].key
}

// NotificationSecret is the secret that this instance signs its Standard
// Webhooks notifications with: 32 bytes, for one cluster.
func (r *Ring) NotificationSecret(cluster string) []byte {
	return notificationSecret(r.active(), cluster)
}

// NotificationSecrets lists the secrets by which notifications are accepted,
// newest first: one for each key, as the sender may be a step ahead or behind
// in a rotation.
func (r *Ring) NotificationSecrets(cluster string) [][]byte {
	secrets := make([][]byte, len(r.members))
	for i, m := range r.members {
		secrets[i] = notificationSecret(m.key, cluster)
	}
	return secrets
}

func notificationSecret(k Key, cluster string) []byte {
	return k.derive("notification "+cluster, 32)
}

// String shows the ids, never a secret.
func (r *Ring) String() string { return "key " + strings.Join(r.IDs(), ", ") }

// LogValue shows the ids, never a secret.
func (r *Ring) LogValue() slog.Value { return slog.AnyValue(r.IDs()) }
