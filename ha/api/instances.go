package api

import (
	"context"
	"net/http"
)

// Member is an instance to be registered ahead of its join.
type Member struct {
	URL string `json:"url" minLength:"1" maxLength:"2048" doc:"at which the others reach it"`
}

type addInstanceInput struct{ Body Member }

type removeInstanceInput struct {
	Name string `path:"name" minLength:"1" maxLength:"2048" doc:"its name, or, before it has joined, its URL"`
}

func (a *api) addInstances(shared Shared) {
	register(a, operation("add-instance", http.MethodPost, "/api/v1/instances", "Register an instance's URL ahead of its join, on the active",
		http.StatusConflict, http.StatusServiceUnavailable),
		func(ctx context.Context, in *addInstanceInput) (*struct{}, error) {
			return nil, shared.AddInstance(ctx, in.Body.URL)
		})
	register(a, operation("remove-instance", http.MethodDelete, "/api/v1/instances/{name}", "Remove an instance, on the active: it is refused until it joins again",
		http.StatusConflict, http.StatusNotFound, http.StatusServiceUnavailable),
		func(ctx context.Context, in *removeInstanceInput) (*struct{}, error) {
			return nil, shared.RemoveInstance(ctx, in.Name)
		})
}
