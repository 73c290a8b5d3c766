package agent

import (
	"context"

	"github.com/understudy-ha/understudy/ha/account"
	"github.com/understudy-ha/understudy/ha/control"
)

// Accounts are who may sign in to the console.
func (a *Agent) Accounts() *account.Accounts { return a.accounts }

// users are the users in the sealed part of the shared configuration.
type users struct{ a *Agent }

var _ account.Store = users{}

func (u users) Users() ([]account.User, error) {
	s, err := u.a.secrets()
	return s.Users, err
}

func (u users) MayChangeUsers() error { return u.a.asking.OnlyActive("users are changed") }

func (u users) ChangeUsers(ctx context.Context, text string, change func([]account.User) ([]account.User, error)) error {
	return u.a.changeSecrets(ctx, text, func(s *control.Secrets) (err error) {
		s.Users, err = change(s.Users)
		return err
	})
}
