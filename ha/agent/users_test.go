package agent

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/understudy-ha/understudy/ha"
)

// TestUsersSignInWhereverTheActiveIs: users are part of the shared
// configuration, of which the bucket shows nothing.
func TestUsersSignInWhereverTheActiveIs(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b := c.host("a"), c.host("b")
		a.init()
		b.join(false)
		a.start()
		b.start()
		a.untilLeading()
		b.untilCached(a.backup())
		ctx := t.Context()
		if err := a.agent.AddUser(ctx, "vera", RoleViewer, "correct horse"); !ha.IsRefusal(err) {
			t.Errorf("a viewer as the first user: %v", err)
		}
		if err := a.agent.AddUser(ctx, "alice", RoleAdmin, "correct horse"); err != nil {
			t.Fatal(err)
		}
		if err := a.agent.AddUser(ctx, "vera", RoleViewer, "battery staple"); err != nil {
			t.Fatal(err)
		}
		if err := a.agent.AddUser(ctx, "alice", RoleAdmin, "correct horse"); !ha.IsRefusal(err) {
			t.Errorf("the same name twice: %v", err)
		}
		if err := b.agent.AddUser(ctx, "bob", RoleAdmin, "correct horse"); !ha.IsRefusal(err) || !strings.Contains(err.Error(), "a") {
			t.Errorf("on a standby: %v", err)
		}
		b.until("users are there", func(Status) bool { _, ok := b.agent.User("vera"); return ok })
		for _, h := range []*host{a, b} {
			if u, err := h.agent.SignIn(ctx, "alice", "correct horse"); err != nil || u.Role != RoleAdmin {
				t.Errorf("%s: %+v, %v", h.name, u, err)
			}
			for name, password := range map[string]string{"alice": "battery staple", "vera": "", "nobody": "correct horse"} {
				if _, err := h.agent.SignIn(ctx, name, password); !errors.Is(err, ErrSignIn) {
					t.Errorf("%s: %s with %q: %v", h.name, name, password, err)
				}
			}
		}
		for attrs, err := range c.memory.List(ctx, "config/", "") {
			if err != nil {
				t.Fatal(err)
			}
			if text := string(c.object(attrs.Key)); strings.Contains(text, "alice") || strings.Contains(text, "argon2") {
				t.Errorf("%s tells of the users", attrs.Key)
			}
		}

		turns := map[*host]uint64{a: a.agent.Turn(), b: b.agent.Turn()}
		b.promote(PromoteRequest{})
		b.untilLeading()
		a.until("stepped down", func(s Status) bool { return s.Role == ha.RoleStandby && s.Demotion == nil })
		for h, turn := range turns {
			if h.agent.Turn() == turn {
				t.Errorf("%s: sessions outlive a change of its role", h.name)
			}
		}
		if _, err := b.agent.SignIn(ctx, "vera", "battery staple"); err != nil {
			t.Errorf("on the new active: %v", err)
		}
		if err := b.agent.SetPassword(ctx, "vera", "something else"); err != nil {
			t.Fatal(err)
		}
		if _, err := b.agent.SignIn(ctx, "vera", "battery staple"); !errors.Is(err, ErrSignIn) {
			t.Errorf("with the old password: %v", err)
		}
		if err := b.agent.RemoveUser(ctx, "alice"); !ha.IsRefusal(err) || !strings.Contains(err.Error(), "last admin") {
			t.Errorf("remove the last admin: %v", err)
		}
		for _, err := range []error{b.agent.RemoveUser(ctx, "nobody"), b.agent.SetPassword(ctx, "nobody", "something else")} {
			if !errors.Is(err, ErrNoUser) {
				t.Errorf("nobody: %v", err)
			}
		}
		if err := b.agent.RemoveUser(ctx, "vera"); err != nil {
			t.Error(err)
		}
		a.until("vera is gone", func(Status) bool { _, ok := a.agent.User("vera"); return !ok })
	})
}

func TestAClusterBeginsWithItsFirstUser(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a := c.host("a")
		hash, err := NewPasswords(rand.NewChaCha8([32]byte{1})).Hash(t.Context(), "correct horse")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Init(t.Context(), a.config(), ha.DefaultConfig(), User{Name: "alice", Role: RoleAdmin, Password: hash}); err != nil {
			t.Fatal(err)
		}
		a.start()
		a.untilLeading()
		if u, err := a.agent.SignIn(t.Context(), "alice", "correct horse"); err != nil || u.Name != "alice" {
			t.Errorf("%+v, %v", u, err)
		}
	})
}

func TestPasswordsAreHashedAsOWASPSays(t *testing.T) {
	p := NewPasswords(rand.NewChaCha8([32]byte{1}))
	for _, bad := range []string{"", "ninechars", strings.Repeat("x", MaxPassword+1)} {
		if _, err := p.Hash(t.Context(), bad); !errors.Is(err, ErrInvalid) {
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
	p := NewPasswords(rand.NewChaCha8([32]byte{1}))
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

func TestUserNamesFitEverywhere(t *testing.T) {
	for name, good := range map[string]bool{
		"alice": true, "a": true, "a.b-c_d@example.com": true, "": false, "Alice": false, "a b": false, "../a": false, "a/b": false, "-a": false,
		strings.Repeat("x", 64): true, strings.Repeat("x", 65): false,
	} {
		if err := CheckUser(name, RoleAdmin); (err == nil) != good || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := CheckUser("alice", "owner"); !errors.Is(err, ErrInvalid) {
		t.Errorf("a role that is none: %v", err)
	}
}

// TestHistoryComesInPages: following the last one's id shows every backup
// once, also those that a promotion has cut off.
func TestHistoryComesInPages(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b := c.host("a"), c.host("b")
		a.init()
		b.join(false)
		a.start()
		b.start()
		a.untilLeading()
		for i := range 5 {
			a.write("state", fmt.Sprint(i))
			b.untilCached(a.backup())
		}
		listed, err := b.agent.Backups(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		b.promote(PromoteRequest{Backup: listed[3].ID, Mode: ha.ModeSwitchover})
		b.untilLeading()
		all, err := b.agent.Backups(t.Context(), 0)
		if err != nil || len(all) < 6 {
			t.Fatalf("%d backups, %v", len(all), err)
		}
		after := ""
		for i := range all {
			page, err := b.agent.BackupsAfter(t.Context(), after, 1)
			if err != nil || len(page.Backups) != 1 || page.Backups[0].ID != all[i].ID || page.Backups[0].Superseded != all[i].Superseded || (page.Next == "") != (i == len(all)-1) {
				t.Fatalf("page %d: %+v, %v; want %s", i, page, err, all[i].ID)
			}
			after = page.Backups[0].ID
		}
		if rest, err := b.agent.BackupsAfter(t.Context(), after, 1); err != nil || len(rest.Backups) > 0 {
			t.Errorf("after the last: %+v, %v", rest, err)
		}
		if _, err := b.agent.BackupsAfter(t.Context(), "nonsense", 1); !errors.Is(err, ErrInvalid) {
			t.Errorf("after nonsense: %v", err)
		}
		for deep := range map[bool]bool{false: true, true: true} {
			if damage, err := b.agent.Verify(t.Context(), "", deep); err != nil || damage != "" {
				t.Errorf("verify, deep %v: %q, %v", deep, damage, err)
			}
		}
		for attrs, err := range c.memory.List(t.Context(), "packs/", "") {
			if err != nil {
				t.Fatal(err)
			}
			if err := c.memory.Delete(t.Context(), attrs.Key); err != nil {
				t.Fatal(err)
			}
		}
		if damage, err := b.agent.Verify(t.Context(), "", false); err != nil || damage == "" {
			t.Errorf("verify without packs: %q, %v", damage, err)
		}
	})
}
