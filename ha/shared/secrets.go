package shared

import (
	"context"
	"slices"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/account"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/webhook"
)

// Shared keeps users and webhooks in the sealed part of the configuration.
var (
	_ account.Store = (*Shared)(nil)
	_ webhook.Store = (*Shared)(nil)
)

// Users implements account.Store.
func (s *Shared) Users() ([]account.User, error) {
	all, err := s.secrets()
	return all.Users, err
}

// MayChangeUsers implements account.Store.
func (s *Shared) MayChangeUsers() error { return s.host.Asking.OnlyActive("users are changed") }

// ChangeUsers implements account.Store.
func (s *Shared) ChangeUsers(ctx context.Context, text string, change func([]account.User) ([]account.User, error)) error {
	return s.changeSecrets(ctx, text, func(all *control.Secrets) (err error) {
		all.Users, err = change(all.Users)
		return err
	})
}

// Hooks implements webhook.Store.
func (s *Shared) Hooks() ([]webhook.Hook, error) {
	all, err := s.secrets()
	return all.Webhooks, err
}

// ChangeHooks implements webhook.Store.
func (s *Shared) ChangeHooks(ctx context.Context, text string, change func([]webhook.Hook) ([]webhook.Hook, error)) error {
	return s.changeSecrets(ctx, text, func(all *control.Secrets) (err error) {
		all.Webhooks, err = change(all.Webhooks)
		return err
	})
}

// secrets opens the sealed part of the configuration in force; what it gives
// is empty while none is known. It asks nobody.
func (s *Shared) secrets() (control.Secrets, error) {
	_, c := s.host.Configs.Current()
	if c == nil {
		return control.Secrets{}, nil
	}
	return s.host.Control.OpenSecrets(c)
}

// changeSecrets changes the sealed part of the shared configuration and waits
// until it is in force.
func (s *Shared) changeSecrets(ctx context.Context, text string, change func(*control.Secrets) error) error {
	return s.change(ctx, text, func(c *ha.Config) error {
		all, err := s.host.Control.OpenSecrets(c)
		if err != nil {
			return err
		}
		all.Users, all.Webhooks = slices.Clone(all.Users), slices.Clone(all.Webhooks)
		if err := change(&all); err != nil {
			return err
		}
		c.Secrets, err = s.host.Control.SealSecrets(all, s.host.Random)
		return err
	})
}
