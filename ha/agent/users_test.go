package agent

import (
	"errors"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/account"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
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
		if err := a.agent.Accounts().AddUser(ctx, "vera", account.Viewer, "correct horse"); !ha.IsRefusal(err) {
			t.Errorf("a viewer as the first user: %v", err)
		}
		if err := a.agent.Accounts().AddUser(ctx, "alice", account.Admin, "correct horse"); err != nil {
			t.Fatal(err)
		}
		if err := a.agent.Accounts().AddUser(ctx, "vera", account.Viewer, "battery staple"); err != nil {
			t.Fatal(err)
		}
		if err := a.agent.Accounts().AddUser(ctx, "alice", account.Admin, "correct horse"); !ha.IsRefusal(err) {
			t.Errorf("the same name twice: %v", err)
		}
		if err := b.agent.Accounts().AddUser(ctx, "bob", account.Admin, "correct horse"); !ha.IsRefusal(err) || !strings.Contains(err.Error(), "a") {
			t.Errorf("on a standby: %v", err)
		}
		b.until("users are there", func(report.Status) bool { _, ok := b.agent.Accounts().User("vera"); return ok })
		for _, h := range []*host{a, b} {
			if u, err := h.agent.Accounts().SignIn(ctx, "alice", "correct horse"); err != nil || u.Role != account.Admin {
				t.Errorf("%s: %+v, %v", h.name, u, err)
			}
			for name, password := range map[string]string{"alice": "battery staple", "vera": "", "nobody": "correct horse"} {
				if _, err := h.agent.Accounts().SignIn(ctx, name, password); !errors.Is(err, account.ErrSignIn) {
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
		b.promote(promotions.PromotionRequest{})
		b.untilLeading()
		a.until("stepped down", func(s report.Status) bool { return s.Role == ha.RoleStandby && s.Demotion == nil })
		for h, turn := range turns {
			if h.agent.Turn() == turn {
				t.Errorf("%s: sessions outlive a change of its role", h.name)
			}
		}
		if _, err := b.agent.Accounts().SignIn(ctx, "vera", "battery staple"); err != nil {
			t.Errorf("on the new active: %v", err)
		}
		if err := b.agent.Accounts().SetPassword(ctx, "vera", "something else"); err != nil {
			t.Fatal(err)
		}
		if _, err := b.agent.Accounts().SignIn(ctx, "vera", "battery staple"); !errors.Is(err, account.ErrSignIn) {
			t.Errorf("with the old password: %v", err)
		}
		if err := b.agent.Accounts().RemoveUser(ctx, "alice"); !ha.IsRefusal(err) || !strings.Contains(err.Error(), "last admin") {
			t.Errorf("remove the last admin: %v", err)
		}
		for _, err := range []error{b.agent.Accounts().RemoveUser(ctx, "nobody"), b.agent.Accounts().SetPassword(ctx, "nobody", "something else")} {
			if !errors.Is(err, account.ErrNoUser) {
				t.Errorf("nobody: %v", err)
			}
		}
		if err := b.agent.Accounts().RemoveUser(ctx, "vera"); err != nil {
			t.Error(err)
		}
		a.until("vera is gone", func(report.Status) bool { _, ok := a.agent.Accounts().User("vera"); return !ok })
	})
}

func TestAClusterBeginsWithItsFirstUser(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a := c.host("a")
		hash, err := account.NewPasswords().Hash(t.Context(), "correct horse")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Init(t.Context(), a.config(), ha.DefaultConfig(), account.User{Name: "alice", Role: account.Admin, Password: hash}); err != nil {
			t.Fatal(err)
		}
		a.start()
		a.untilLeading()
		if u, err := a.agent.Accounts().SignIn(t.Context(), "alice", "correct horse"); err != nil || u.Name != "alice" {
			t.Errorf("%+v, %v", u, err)
		}
	})
}
