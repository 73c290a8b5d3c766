package control

import (
	"errors"
	"testing"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/clock"
)

func TestControlObjectsAreBoundToTheirPlace(t *testing.T) {
	memory := storetest.NewMemory()
	ring := newRing(t)
	b := New(Config{Store: memory, Ring: ring, Timeout: DefaultTimeout, Clock: clock.System()}, "one")
	marker := &ha.Marker{Format: ha.Format, Cluster: "one", Epoch: 2}
	for name, put := range map[string]func() error{
		"another key's": func() error {
			signed, err := b.Encode(ha.KindMarker, ha.MarkerKey(2), marker)
			return errors.Join(err, raw(t, memory, ha.MarkerKey(3), signed))
		},
		"another epoch": func() error {
			_, err := b.Write(t.Context(), ha.KindMarker, ha.MarkerKey(3), marker, blobstore.Always)
			return err
		},
		"another format": func() error {
			_, err := b.Write(t.Context(), ha.KindMarker, ha.MarkerKey(3), &ha.Marker{Format: 9, Cluster: "one", Epoch: 3}, blobstore.Always)
			return err
		},
		"another cluster inside": func() error {
			_, err := b.Write(t.Context(), ha.KindMarker, ha.MarkerKey(3), &ha.Marker{Format: ha.Format, Cluster: "two", Epoch: 3}, blobstore.Always)
			return err
		},
		"another kind": func() error {
			_, err := b.Write(t.Context(), ha.KindAck, ha.MarkerKey(3), marker, blobstore.Always)
			return err
		},
		"not JSON":  func() error { return raw(t, memory, ha.MarkerKey(3), []byte("hello")) },
		"too large": func() error { return raw(t, memory, ha.MarkerKey(3), make([]byte, MaxObject+1)) },
	} {
		if err := put(); err != nil {
			t.Fatal(err)
		}
		_, _, err := b.Read(t.Context(), ha.KindMarker, ha.MarkerKey(3), "")
		if ReadOutcome(err) != ha.Unverified {
			t.Errorf("%s: %v", name, err)
		}
	}
	token, err := b.Write(t.Context(), ha.KindMarker, ha.MarkerKey(2), marker, blobstore.Always)
	if err != nil {
		t.Fatal(err)
	}
	got, attrs, err := b.Read(t.Context(), ha.KindMarker, ha.MarkerKey(2), "")
	if err != nil || got.(*ha.Marker).Epoch != 2 || attrs.Token != token {
		t.Errorf("%+v, %v", got, err)
	}
	for key, want := range map[string]ha.Outcome{ha.MarkerKey(2): ha.NotModified, ha.MarkerKey(9): ha.Missing} {
		if _, _, err := b.Read(t.Context(), ha.KindMarker, key, token); ReadOutcome(err) != want {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func raw(t *testing.T, store blobstore.Store, key string, body []byte) error {
	t.Helper()
	_, err := store.Put(t.Context(), key, body, blobstore.Always)
	return err
}
