package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/understudy-ha/understudy/ha"
)

// Store keeps the users.
type Store interface {
	// Users are the users in force. It asks nobody.
	Users() ([]User, error)
	// ChangeUsers replaces the users by what change makes of them, and returns once
	// they are in force everywhere. text says what was done, for people. On an
	// instance that is not the active it is a *ha.Refusal.
	ChangeUsers(ctx context.Context, text string, change func([]User) ([]User, error)) error
	// MayChangeUsers is the *ha.Refusal of ChangeUsers, or nil.
	MayChangeUsers() error
}

// ErrSignIn means that name or password is wrong.
var ErrSignIn = errors.New("the name or the password is wrong")

// Accounts are the users of a Store. They are safe for concurrent use.
type Accounts struct {
	store     Store
	passwords *Passwords
}

// New returns the accounts of a store.
func New(s Store) *Accounts { return &Accounts{store: s, passwords: NewPasswords()} }

// Users lists who may sign in, by name.
func (a *Accounts) Users() ([]User, error) { return a.store.Users() }

// User finds a user; false when nobody has the name, or the users are not known.
func (a *Accounts) User(name string) (User, bool) {
	users, err := a.store.Users()
	if err != nil {
		return User{}, false
	}
	i := find(users, name)
	if i < 0 {
		return User{}, false
	}
	return users[i], true
}

// SignIn finds the user with this name and password; anything else is
// ErrSignIn, after the same work. Too many at once are ErrBusy.
func (a *Accounts) SignIn(ctx context.Context, name, password string) (User, error) {
	if _, err := a.store.Users(); err != nil {
		return User{}, err
	}
	u, known := a.User(name)
	ok, err := a.passwords.Check(ctx, u.Password, password)
	switch {
	case err != nil:
		return User{}, err
	case !ok || !known:
		return User{}, ErrSignIn
	}
	return u, nil
}

// AddUser lets somebody sign in.
func (a *Accounts) AddUser(ctx context.Context, name string, role Role, password string) error {
	if err := Check(name, role); err != nil {
		return err
	}
	return a.change(ctx, password, fmt.Sprintf("the user %s (%s) was added", name, role), func(users []User, hash string) ([]User, error) {
		if find(users, name) >= 0 {
			return nil, &ha.Refusal{Reason: fmt.Sprintf("there is a user %s already: change the password, or remove the user first", name)}
		}
		if role == Viewer && !slices.ContainsFunc(users, isAdmin) {
			return nil, &ha.Refusal{Reason: "the first user must be an admin: somebody has to be able to add the others"}
		}
		users = append(users, User{Name: name, Role: role, Password: hash})
		slices.SortFunc(users, func(x, y User) int { return strings.Compare(x.Name, y.Name) })
		return users, nil
	})
}

// SetPassword changes a user's password, which ends the user's sessions on
// every instance.
func (a *Accounts) SetPassword(ctx context.Context, name, password string) error {
	return a.change(ctx, password, fmt.Sprintf("the password of %s was changed", name), func(users []User, hash string) ([]User, error) {
		i := find(users, name)
		if i < 0 {
			return nil, fmt.Errorf("%w: %s", ErrNoUser, name)
		}
		users[i].Password = hash
		return users, nil
	})
}

// RemoveUser keeps somebody from signing in, and ends the user's sessions. The
// last admin stays: nobody could add another in the console.
func (a *Accounts) RemoveUser(ctx context.Context, name string) error {
	return a.store.ChangeUsers(ctx, fmt.Sprintf("the user %s was removed", name), func(users []User) ([]User, error) {
		i := find(users, name)
		if i < 0 {
			return nil, fmt.Errorf("%w: %s", ErrNoUser, name)
		}
		users = slices.Delete(users, i, i+1)
		if !slices.ContainsFunc(users, isAdmin) {
			return nil, &ha.Refusal{Reason: fmt.Sprintf("%s is the last admin and cannot be removed: add another admin first", name)}
		}
		return users, nil
	})
}

// change changes the users with the hash of a new password. It refuses before it
// hashes.
func (a *Accounts) change(ctx context.Context, password, text string, change func(users []User, hash string) ([]User, error)) error {
	if err := a.store.MayChangeUsers(); err != nil {
		return err
	}
	hash, err := a.passwords.Hash(ctx, password)
	if err != nil {
		return err
	}
	return a.store.ChangeUsers(ctx, text, func(users []User) ([]User, error) { return change(users, hash) })
}

func find(users []User, name string) int {
	return slices.IndexFunc(users, func(u User) bool { return u.Name == name })
}

func isAdmin(u User) bool { return u.Role == Admin }
