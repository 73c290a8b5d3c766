package api

import (
	"context"
	"net/http"

	"github.com/understudy-ha/understudy/ha/account"
)

// User is somebody who may sign in to the console.
type User struct {
	Name string       `json:"name"`
	Role account.Role `json:"role" enum:"admin,viewer"`
}

// Users is who may sign in.
type Users struct {
	Users []User `json:"users" nullable:"false"`
}

// NewUser is somebody who shall be able to sign in.
type NewUser struct {
	Name     string       `json:"name" minLength:"1" maxLength:"64" doc:"a-z, 0-9, dot, dash, underscore and @"`
	Role     account.Role `json:"role" enum:"admin,viewer" doc:"a viewer may change nothing"`
	Password string       `json:"password" minLength:"10" maxLength:"1024"`
}

// NewPassword replaces a user's password.
type NewPassword struct {
	Password string `json:"password" minLength:"10" maxLength:"1024"`
}

type usersOutput struct{ Body Users }

type addUserInput struct{ Body NewUser }

type removeUserInput struct {
	Name string `path:"name" minLength:"1" maxLength:"64"`
}

type setPasswordInput struct {
	Name string `path:"name" minLength:"1" maxLength:"64"`
	Body NewPassword
}

func (a *api) addUsers(accounts Accounts) {
	register(a, operation("list-users", http.MethodGet, "/api/v1/users", "Who may sign in to the console, on every instance", http.StatusServiceUnavailable),
		func(context.Context, *struct{}) (*usersOutput, error) {
			all, err := accounts.Users()
			out := &usersOutput{Body: Users{Users: []User{}}}
			for _, u := range all {
				out.Body.Users = append(out.Body.Users, User{Name: u.Name, Role: u.Role})
			}
			return out, err
		})
	register(a, operation("add-user", http.MethodPost, "/api/v1/users", "Let somebody sign in, on the active",
		http.StatusConflict, http.StatusServiceUnavailable),
		func(ctx context.Context, in *addUserInput) (*struct{}, error) {
			return nil, accounts.AddUser(ctx, in.Body.Name, in.Body.Role, in.Body.Password)
		})
	register(a, operation("remove-user", http.MethodDelete, "/api/v1/users/{name}", "Remove a user, on the active: the user's sessions end",
		http.StatusConflict, http.StatusNotFound, http.StatusServiceUnavailable),
		func(ctx context.Context, in *removeUserInput) (*struct{}, error) {
			return nil, accounts.RemoveUser(ctx, in.Name)
		})
	register(a, operation("set-password", http.MethodPut, "/api/v1/users/{name}/password", "Change a user's password, on the active: the user's sessions end",
		http.StatusConflict, http.StatusNotFound, http.StatusServiceUnavailable),
		func(ctx context.Context, in *setPasswordInput) (*struct{}, error) {
			return nil, accounts.SetPassword(ctx, in.Name, in.Body.Password)
		})
}
