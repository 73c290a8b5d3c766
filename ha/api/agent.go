package api

import (
	"context"
	"net/http"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha/account"
	"github.com/understudy-ha/understudy/ha/agent"
	"github.com/understudy-ha/understudy/ha/catalogue"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/moments"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/putback"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/requests"
	"github.com/understudy-ha/understudy/ha/webhook"
)

// Parts are what the API serves: an agent, a noun at a time. Errors of their methods are
// *ha.Refusal, ha.ErrInvalid, blobstore.ErrNotFound and the kinds of error of bucket and
// key, which become 409, 422, 404 and 503.
type Parts struct {
	Instance   Instance
	Table      Table
	Backups    Backups
	History    History
	Requests   Requests
	Changes    Changes
	Promotions Promotions
	Shared     Shared
	Recovery   Recovery
	Notifier   Notifier
	Sightings  Sightings
	Witness    Witness
	Accounts   Accounts
	Hooks      Hooks
}

// Instance is what this instance knows of itself and of its cluster. It asks nobody.
type Instance interface {
	Status() report.Status
	// Changed gives a channel that is closed when Status may have changed.
	Changed() <-chan struct{}
	// Turn grows whenever this instance's role has changed.
	Turn() uint64
	Events() *event.Log
	// LogAges is how old the recovery points of the logs were that this instance ships,
	// oldest first.
	LogAges() []agent.AgeSample
}

// Table is the table of instances.
type Table interface {
	// Instances reads it from the bucket.
	Instances(ctx context.Context) ([]report.InstanceStatus, error)
	// Lags is how far the standbys were behind lately, oldest first.
	Lags() []agent.LagSample
}

// Backups are what can be restored.
type Backups interface {
	// BackupsAfter lists them, newest first, from the one after id on ("": the
	// newest); limit 0 is a default.
	BackupsAfter(ctx context.Context, id string, limit int) (control.BackupList, error)
	BackupInfo(ctx context.Context, id string) (control.BackupInfo, *backup.Manifest, error)
	// Verify checks a backup in the bucket: that its packs are there, or, when
	// deep, every byte. It says what is wrong; "": nothing.
	Verify(ctx context.Context, id string, deep bool) (damage string, err error)
	// Diff compares two backups: what b has and a has not counts as added.
	Diff(ctx context.Context, a, b string) (catalogue.BackupDiff, error)
	// Windows says to which moments each source can be brought that has its log in the
	// bucket.
	Windows(ctx context.Context) ([]moments.Source, error)
}

// History is what has happened to the cluster.
type History interface {
	// ClusterHistory gives a page of it, newest first.
	ClusterHistory(ctx context.Context, before string, limit int) (control.ClusterHistory, error)
}

// Requests are what can be asked of an active.
type Requests interface {
	// Backup asks for a backup and returns it once it is published; it may be
	// one that other requests share. BackupSoon does not wait.
	Backup(ctx context.Context, trigger backup.Trigger, reason string) (backup.Ref, error)
	BackupSoon(ctx context.Context, trigger backup.Trigger, reason string) error
	// RequireFull makes the next backup one that refers to no earlier pack.
	RequireFull(ctx context.Context) error
	Pause(ctx context.Context, req requests.PauseRequest) error
	Resume(ctx context.Context) error
	// StartAnyway starts the application of an active that cannot reach the
	// bucket.
	StartAnyway(ctx context.Context) error
}

// Changes are sources that have changed more than a backup may take without being asked.
type Changes interface {
	// AcceptChanges confirms the changes of sources, all for no names, and returns
	// them.
	AcceptChanges(ctx context.Context, sources []string) ([]backup.Change, error)
}

// Promotions are those of this instance.
type Promotions interface {
	Preflight(ctx context.Context, req promotions.PromotionRequest) (promotions.Preflight, error)
	// Promote begins a promotion and returns its id, or refuses it.
	Promote(ctx context.Context, req promotions.PromotionRequest) (id string, err error)
	// Promotion is false when this process knows none with this id.
	Promotion(id string) (promotions.PromotionStatus, bool)
	// CancelPromotion gives up the one under way.
	CancelPromotion(ctx context.Context) error
}

// Shared is the shared configuration.
type Shared interface {
	// SetConfig puts settings into force, all of them or none.
	SetConfig(ctx context.Context, settings map[string]string) error
	AddInstance(ctx context.Context, url string) error
	// RemoveInstance takes a name, or the URL of one that has not joined.
	RemoveInstance(ctx context.Context, name string) error
}

// Recovery is the way out of a bucket that was put back to an earlier state.
type Recovery interface {
	// PlanRecovery says what the bucket lacks; RecoverBucket has the cluster go on
	// from it, or refuses to.
	PlanRecovery(ctx context.Context, without []string) (putback.RecoveryPlan, error)
	RecoverBucket(ctx context.Context, req putback.RecoveryRequest) (putback.RecoveryPlan, error)
}

// Notifier is woken by the other instances, whose calls are signed.
type Notifier interface {
	// VerifyNotification checks a notification's signature; Notified acts on
	// one, and never blocks.
	VerifyNotification(header http.Header, body []byte) error
	Notified()
}

// Sightings are what instances see of the head.
type Sightings interface {
	// Sight answers a peer's signed question with what this instance sees of the head.
	Sight(ctx context.Context, header http.Header, body []byte) ([]byte, error)
}

// Witness is told what was asked for, and by whom.
type Witness interface {
	// NoteRefusal tells of a request that was refused; other errors are no news.
	NoteRefusal(ctx context.Context, request string, err error)
	// NoteAccess tells who was let in, or was not.
	NoteAccess(ctx context.Context, granted bool, text string)
}

// Accounts are who may sign in.
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

// Hooks are who else is told of events.
type Hooks interface {
	// Webhooks lists them; the secret of one is given when it is added, and never
	// again.
	Webhooks() ([]webhook.Status, error)
	AddWebhook(ctx context.Context, req webhook.Request) (added webhook.Status, secret string, err error)
	RemoveWebhook(ctx context.Context, id string) error
	TestWebhook(ctx context.Context, id string) error
}
