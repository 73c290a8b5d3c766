package agent

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/understudy-ha/understudy/ha"
)

// UserRole is what a user of the console may do.
type UserRole string

// Roles of users.
const (
	RoleAdmin  UserRole = "admin"
	RoleViewer UserRole = "viewer" // reads, and changes nothing
)

// User is somebody who may sign in to the console, on every instance.
type User struct {
	Name     string   `json:"name"`
	Role     UserRole `json:"role,omitempty"`
	Password string   `json:"password,omitempty"` // its hash
}

// ErrNoUser means that nobody has the name that was asked for. It is an
// ErrInvalid.
var ErrNoUser = fmt.Errorf("%w: there is no such user", ErrInvalid)

// ErrSignIn means that name or password is wrong.
var ErrSignIn = errors.New("the name or the password is wrong")

// userName is what fits a path, a log line and a cookie alike.
var userName = regexp.MustCompile(`^[a-z0-9]([a-z0-9._@-]{0,62}[a-z0-9])?$`)

// CheckUser says whether a name and a role can be a user's.
func CheckUser(name string, role UserRole) error {
	if !userName.MatchString(name) {
		return invalid("%q cannot be a user's name: use up to 64 of a-z, 0-9, dot, dash, underscore and @, beginning and ending with a letter or digit", name)
	}
	if role != RoleAdmin && role != RoleViewer {
		return invalid("there is no role %q: it is %s or %s", role, RoleAdmin, RoleViewer)
	}
	return nil
}

// Users lists who may sign in, by name.
func (a *Agent) Users() ([]User, error) {
	s, err := a.secrets()
	return s.Users, err
}

// User finds a user; false when nobody has the name, or the shared
// configuration is not known.
func (a *Agent) User(name string) (User, bool) {
	s, err := a.secrets()
	if err != nil {
		return User{}, false
	}
	i := slices.IndexFunc(s.Users, func(u User) bool { return u.Name == name })
	if i < 0 {
		return User{}, false
	}
	return s.Users[i], true
}

// SignIn finds the user with this name and password; anything else is
// ErrSignIn, after the same work. Too many at once are ErrBusy.
func (a *Agent) SignIn(ctx context.Context, name, password string) (User, error) {
	if _, err := a.secrets(); err != nil {
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

// AddUser lets somebody sign in, from when the configuration is in force. It
// is done on the active.
func (a *Agent) AddUser(ctx context.Context, name string, role UserRole, password string) error {
	if err := CheckUser(name, role); err != nil {
		return err
	}
	return a.changeUsers(ctx, password, fmt.Sprintf("the user %s (%s) was added", name, role), func(users []User, hash string) ([]User, error) {
		if slices.ContainsFunc(users, func(u User) bool { return u.Name == name }) {
			return nil, &ha.Refusal{Reason: fmt.Sprintf("there is a user %s already: change the password, or remove the user first", name)}
		}
		if role == RoleViewer && !slices.ContainsFunc(users, isAdmin) {
			return nil, &ha.Refusal{Reason: "the first user must be an admin: somebody has to be able to add the others"}
		}
		users = append(users, User{Name: name, Role: role, Password: hash})
		slices.SortFunc(users, func(x, y User) int { return strings.Compare(x.Name, y.Name) })
		return users, nil
	})
}

// SetPassword changes a user's password, which ends the user's sessions on
// every instance.
func (a *Agent) SetPassword(ctx context.Context, name, password string) error {
	return a.changeUsers(ctx, password, fmt.Sprintf("the password of %s was changed", name), func(users []User, hash string) ([]User, error) {
		i := slices.IndexFunc(users, func(u User) bool { return u.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("%w: %s", ErrNoUser, name)
		}
		users[i].Password = hash
		return users, nil
	})
}

// RemoveUser keeps somebody from signing in, and ends the user's sessions. The
// last admin stays: nobody could add another in the console.
func (a *Agent) RemoveUser(ctx context.Context, name string) error {
	return a.changeSecrets(ctx, fmt.Sprintf("the user %s was removed", name), func(s *secrets) error {
		i := slices.IndexFunc(s.Users, func(u User) bool { return u.Name == name })
		if i < 0 {
			return fmt.Errorf("%w: %s", ErrNoUser, name)
		}
		s.Users = slices.Delete(s.Users, i, i+1)
		if !slices.ContainsFunc(s.Users, isAdmin) {
			return &ha.Refusal{Reason: fmt.Sprintf("%s is the last admin and cannot be removed: add another admin first", name)}
		}
		return nil
	})
}

func isAdmin(u User) bool { return u.Role == RoleAdmin }

// changeUsers changes the users with the hash of a new password.
func (a *Agent) changeUsers(ctx context.Context, password, text string, change func(users []User, hash string) ([]User, error)) error {
	if err := a.onlyActive("users are changed"); err != nil {
		return err
	}
	hash, err := a.passwords.Hash(ctx, password)
	if err != nil {
		return err
	}
	return a.changeSecrets(ctx, text, func(s *secrets) (err error) {
		s.Users, err = change(s.Users, hash)
		return err
	})
}
