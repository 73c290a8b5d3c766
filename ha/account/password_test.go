package account

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/understudy-ha/understudy/ha"
)

func TestPasswordsAreHashedAsOWASPSays(t *testing.T) {
	p := NewPasswords()
	for _, bad := range []string{"", "ninechars", strings.Repeat("x", MaxPassword+1)} {
		if _, err := p.Hash(t.Context(), bad); !errors.Is(err, ha.ErrInvalid) {
			t.Errorf("a password of %d bytes: %v", len(bad), err)
		}
	}
	hash, err := p.Hash(t.Context(), "größer als zehn")
	if err != nil || !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatalf("%q, %v", hash, err)
	}
	if again, _ := p.Hash(t.Context(), "größer als zehn"); again == hash {
		t.Error("two hashes have one salt")
	}
	for password, want := range map[string]bool{"größer als zehn": true, "größer als zehN": false, "": false} {
		if got, err := p.Check(t.Context(), hash, password); err != nil || got != want {
			t.Errorf("%q: %v, %v", password, got, err)
		}
	}
	// As the reference implementation gives it: echo -n password | argon2 somesalt -id -t 2 -k 65536 -p 1 -l 32
	known := "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	if ok, err := p.Check(t.Context(), known, "password"); err != nil || !ok {
		t.Errorf("a hash of another program: %v, %v", ok, err)
	}
	if ok, err := p.Check(t.Context(), "", ""); err != nil || ok {
		t.Errorf("no hash: %v, %v", ok, err)
	}
	for _, bad := range []string{"x", "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$x", strings.Replace(known, "65536", "99999999", 1), strings.Replace(known, "v=19", "v=16", 1), known[:len(known)-2]} {
		if _, err := p.Check(t.Context(), bad, "password"); err == nil {
			t.Errorf("%s is taken for a hash", bad)
		}
	}
}

// TestHashesAtOnceAreBounded: each takes 19 MiB.
func TestHashesAtOnceAreBounded(t *testing.T) {
	p := NewPasswords()
	for range cap(p.slots) {
		p.slots <- struct{}{}
	}
	var waiting sync.WaitGroup
	answers := make(chan error, cap(p.queue))
	for range cap(p.queue) {
		waiting.Go(func() {
			_, err := p.Check(t.Context(), "", "x")
			answers <- err
		})
	}
	for len(p.queue) < cap(p.queue) { // nobody leaves while the slots are taken
		runtime.Gosched()
	}
	if _, err := p.Check(t.Context(), "", "x"); !errors.Is(err, ErrBusy) {
		t.Errorf("one more: %v", err)
	}
	for range cap(p.slots) {
		<-p.slots
	}
	waiting.Wait()
	close(answers)
	for err := range answers {
		if err != nil {
			t.Errorf("one that waited: %v", err)
		}
	}
}
