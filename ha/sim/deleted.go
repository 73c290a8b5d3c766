package sim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
)

// Somebody deletes control objects. The head is restored by an operator, as each
// message about it says; nobody restores anything else.

// remove deletes an object, whatever it is.
func (s *store) remove(key string) {
	s.w.trace("somebody deletes %s", key)
	s.w.history.put(key, s.objects[key].token, "")
	delete(s.objects, key)
	s.keepVersion(key, object{})
}

// deleteObject deletes a control object, of any kind.
func (m *mishaps) deleteObject(h *Host) {
	w := m.w
	switch w.rng.IntN(5) {
	case 0:
		m.deleteHead()
	case 1:
		if _, ok := w.store.objects[ha.LeaseKey]; ok {
			w.store.remove(ha.LeaseKey)
		}
	case 2:
		w.trace("somebody deletes %s", ha.InstanceKey(h.disk.name))
		delete(w.names, h.disk.name)
	default:
		m.deleteRecord()
	}
}

// deleteRecord deletes a marker, an acknowledgement, or the record of a salvage.
func (m *mishaps) deleteRecord() {
	var keys []string
	for key := range m.w.store.objects {
		if strings.HasPrefix(key, "demote/") {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return
	}
	slices.Sort(keys)
	key := keys[m.w.rng.IntN(len(keys))]
	m.w.store.remove(key)
	m.w.deleted[key] = true
}

// deleteHead deletes the head, which an operator restores later.
func (m *mishaps) deleteHead() {
	o, ok := m.w.store.objects[ha.HeadKey]
	if !ok {
		return
	}
	m.w.store.remove(ha.HeadKey)
	m.w.lostHead = &o
	m.w.after(m.pause(), m.restoreHead)
}

// restoreHead puts back the last version of the head: where a token is made of the
// content, it has the token that it had.
func (m *mishaps) restoreHead() {
	if m.w.lostHead == nil {
		return
	}
	o, s := *m.w.lostHead, m.w.store
	m.w.lostHead = nil
	if m.w.chance(0.5) {
		nonce := s.nonces[o.token]
		o.token = blobstore.Token(fmt.Sprint("t", len(s.nonces)+1))
		s.nonces[o.token] = fmt.Sprint(nonce, " again, as ", o.token)
	}
	s.objects[ha.HeadKey] = o
	s.keepVersion(ha.HeadKey, o)
	m.w.history.put(ha.HeadKey, "", s.nonces[o.token])
	m.w.trace("the operator restores %s", ha.HeadKey)
	for _, h := range m.w.hosts {
		h.unwell(m.w.now + requestTimeout + poll)
	}
}
