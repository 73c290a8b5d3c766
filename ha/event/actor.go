package event

import "context"

type actorKey struct{}

// WithActor notes on whose word is done what is done under ctx: "token",
// "socket (uid 0 root)", "alice".
func WithActor(ctx context.Context, who string) context.Context {
	return context.WithValue(ctx, actorKey{}, who)
}

// Actor is on whose word something is done; "" where nobody asked for it.
func Actor(ctx context.Context) string {
	who, _ := ctx.Value(actorKey{}).(string)
	return who
}
