package agent

import (
	"context"
	"slices"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
)

// secrets opens the sealed part of the configuration in force; what it gives
// is empty while none is known. It asks nobody.
func (a *Agent) secrets() (control.Secrets, error) {
	_, c := a.configs.current()
	if c == nil {
		return control.Secrets{}, nil
	}
	return a.control.OpenSecrets(c)
}

// changeSecrets changes the sealed part of the shared configuration and waits
// until it is in force.
func (a *Agent) changeSecrets(ctx context.Context, text string, change func(*control.Secrets) error) error {
	return a.changeConfig(ctx, text, func(c *ha.Config) error {
		s, err := a.control.OpenSecrets(c)
		if err != nil {
			return err
		}
		s.Users, s.Webhooks = slices.Clone(s.Users), slices.Clone(s.Webhooks)
		if err := change(&s); err != nil {
			return err
		}
		c.Secrets, err = a.control.SealSecrets(s, a.cfg.Random)
		return err
	})
}
