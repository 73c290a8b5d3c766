package api

import (
	"context"
	"net/http"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha/account"
	"github.com/understudy-ha/understudy/ha/agent"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/webhook"
)

// Agent is what the API serves; *agent.Agent is one. Errors of its methods are
// *ha.Refusal, ha.ErrInvalid, blobstore.ErrNotFound and the kinds of error
// of bucket and key, which become 409, 422, 404 and 503.
type Agent interface {
	// Status does no I/O.
	Status() agent.Status
	// Changed gives a channel that is closed when Status may have changed.
	Changed() <-chan struct{}
	Events() *event.Log

	// Lags is how far the standbys were behind lately, oldest first.
	Lags() []agent.LagSample
	// Instances reads the table of instances from the bucket.
	Instances(ctx context.Context) ([]agent.InstanceStatus, error)
	// BackupsAfter lists what can be restored, newest first, from the one after
	// id on ("": the newest); limit 0 is a default.
	BackupsAfter(ctx context.Context, id string, limit int) (control.BackupList, error)
	// Verify checks a backup in the bucket: that its packs are there, or, when
	// deep, every byte. It says what is wrong; "": nothing.
	Verify(ctx context.Context, id string, deep bool) (damage string, err error)
	// Diff compares two backups: what b has and a has not counts as added.
	Diff(ctx context.Context, a, b string) (agent.BackupDiff, error)
	BackupInfo(ctx context.Context, id string) (control.BackupInfo, *backup.Manifest, error)
	// ClusterHistory gives a page of what happened to the cluster, newest first.
	ClusterHistory(ctx context.Context, before string, limit int) (control.ClusterHistory, error)
	// Backup asks for a backup and returns it once it is published; it may be
	// one that other requests share. BackupSoon does not wait.
	Backup(ctx context.Context, trigger backup.Trigger, reason string) (backup.Ref, error)
	BackupSoon(ctx context.Context, trigger backup.Trigger, reason string) error
	// RequireFull makes the next backup one that refers to no earlier pack.
	RequireFull(ctx context.Context) error

	// AcceptChanges confirms the changes of sources, all for no names, and returns
	// them.
	AcceptChanges(ctx context.Context, sources []string) ([]backup.Change, error)

	// PlanRecovery says what a bucket that was put back lacks; RecoverBucket has the
	// cluster go on from it, or refuses to.
	PlanRecovery(ctx context.Context, without []string) (agent.RecoveryPlan, error)
	RecoverBucket(ctx context.Context, req agent.RecoveryRequest) (agent.RecoveryPlan, error)

	Preflight(ctx context.Context, req agent.PromotionRequest) (agent.Preflight, error)
	// Promote begins a promotion and returns its id, or refuses it.
	Promote(ctx context.Context, req agent.PromotionRequest) (id string, err error)
	// Promotion is false when this process knows none with this id.
	Promotion(id string) (agent.PromotionStatus, bool)
	// CancelPromotion gives up the one under way.
	CancelPromotion(ctx context.Context) error

	// SetConfig puts one setting of the shared configuration into force.
	SetConfig(ctx context.Context, settings map[string]string) error
	AddInstance(ctx context.Context, url string) error
	// RemoveInstance takes a name, or the URL of one that has not joined.
	RemoveInstance(ctx context.Context, name string) error
	Pause(ctx context.Context, req agent.PauseRequest) error
	Resume(ctx context.Context, by string) error
	// StartAnyway starts the application of an active that cannot reach the
	// bucket.
	StartAnyway(ctx context.Context, by string) error

	// NoteRefusal tells of a request that was refused; other errors are no news.
	NoteRefusal(ctx context.Context, request string, err error)
	// NoteAccess tells who was let in, or was not.
	NoteAccess(ctx context.Context, granted bool, text string)
	// Turn grows whenever this instance's role has changed.
	Turn() uint64

	// VerifyNotification checks a notification's signature; Notified acts on
	// one, and never blocks.
	VerifyNotification(header http.Header, body []byte) error
	Notified()
	// Sight answers a peer's signed question with what this instance sees of the head.
	Sight(ctx context.Context, header http.Header, body []byte) ([]byte, error)
}

var _ Agent = (*agent.Agent)(nil)

// Accounts are who may sign in; *account.Accounts are. Their errors are those of
// an Agent.
type Accounts interface {
	// Users lists who may sign in, User finds one of them; neither asks anybody.
	Users() ([]account.User, error)
	User(name string) (account.User, bool)
	// SignIn checks a password: account.ErrSignIn, account.ErrBusy.
	SignIn(ctx context.Context, name, password string) (account.User, error)
	AddUser(ctx context.Context, name string, role account.Role, password string) error
	SetPassword(ctx context.Context, name, password string) error
	RemoveUser(ctx context.Context, name string) error
}

var _ Accounts = (*account.Accounts)(nil)

// Hooks are who else is told of events; *webhook.Webhooks are. Their errors are
// those of an Agent.
type Hooks interface {
	// Webhooks lists them; the secret of one is given when it is added, and never
	// again.
	Webhooks() ([]webhook.Status, error)
	AddWebhook(ctx context.Context, req webhook.Request) (added webhook.Status, secret string, err error)
	RemoveWebhook(ctx context.Context, id string) error
	TestWebhook(ctx context.Context, id string) error
}

var _ Hooks = (*webhook.Webhooks)(nil)
