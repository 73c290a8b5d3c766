package account

import (
	"fmt"
	"regexp"

	"github.com/understudy-ha/understudy/ha"
)

// Role is what a user may do.
type Role string

// Roles of users.
const (
	Admin  Role = "admin"
	Viewer Role = "viewer" // reads, and changes nothing
)

// User is somebody who may sign in to the console, on every instance.
type User struct {
	Name     string `json:"name"`
	Role     Role   `json:"role,omitempty"`
	Password string `json:"password,omitempty"` // its hash
}

// userName is what fits a path, a log line and a cookie alike.
var userName = regexp.MustCompile(`^[a-z0-9]([a-z0-9._@-]{0,62}[a-z0-9])?$`)

// Check is ha.ErrInvalid unless a name and a role can be a user's.
func Check(name string, role Role) error {
	if !userName.MatchString(name) {
		return ha.Invalidf("%q cannot be a user's name: use up to 64 of a-z, 0-9, dot, dash, underscore and @, beginning and ending with a letter or digit", name)
	}
	if role != Admin && role != Viewer {
		return ha.Invalidf("there is no role %q: it is %s or %s", role, Admin, Viewer)
	}
	return nil
}

// ErrNoUser means that nobody has the name that was asked for. It is an
// ha.ErrInvalid.
var ErrNoUser = fmt.Errorf("%w: there is no such user", ha.ErrInvalid)
