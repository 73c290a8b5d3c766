package membership

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/control"
)

// Host is the instance that asks for admission.
type Host struct {
	Self    ha.Peer
	Begun   ha.Journal // as the data folder had it when this process started
	Folder  string     // the data folder, for people
	Config  control.Config
	Control *control.Store
	Clock   clock.Clock
	Random  io.Reader
	Log     Log
	// Opened is told of cluster.json.
	Opened func(cluster *ha.Cluster)
	// Allow refuses an instance that this cluster must not have, by its head.
	Allow func(h *ha.Head) error

	Instance
}

// Instance is what is known of the instance and its cluster now.
type Instance interface {
	// View is the state of the machine as of its last step.
	View() ha.Status
	// Record is what the instance says of itself.
	Record() ha.Instance
	// ConfigWith reads the configuration with a digest.
	ConfigWith(ctx context.Context, digest string) (*ha.Config, error)
}

// Log is where it is told what is wrong with the name: from now on, and when it is not
// any more.
type Log interface {
	Trouble(ctx context.Context, kind, key, text string)
	TroubleOver(ctx context.Context, kind, key, text string)
}

// Admission is whether the bucket may be used under this instance's name. One goroutine
// asks for it and writes the record; everybody may wait for it.
type Admission struct {
	host      Host
	registrar *Registrar
	stolen    time.Duration // when another process's record was last replaced, on this host's clock; 0: never

	admitted chan struct{} // closed once the bucket may be used under this name
	looked   chan struct{} // closed once that was tried, with or without success
	failure  atomic.Pointer[error]
}

// NewAdmission has not asked yet.
func NewAdmission(h Host) *Admission {
	known := slices.Concat(h.Begun.Former, h.Begun.Incarnations)
	return &Admission{
		host: h, registrar: NewRegistrar(h.Control, h.Self, known, h.Random),
		admitted: make(chan struct{}), looked: make(chan struct{}),
	}
}

// Admitted is closed once the bucket may be used under this name.
func (m *Admission) Admitted() <-chan struct{} { return m.admitted }

// IsAdmitted reports whether it may be used now.
func (m *Admission) IsAdmitted() bool { return closed(m.admitted) }

// Muted reports whether the record is left to another process.
func (m *Admission) Muted() bool { return m.registrar.mute }

// Admit finds out whether the bucket may be used under this instance's name,
// and takes the name. Until that has worked once, the machine sees a bucket
// that does not answer.
func (m *Admission) Admit(ctx context.Context, role ha.Role) error {
	err := m.tryAdmit(ctx, role)
	if err != nil {
		m.failure.Store(&err)
	} else {
		close(m.admitted)
	}
	if !closed(m.looked) {
		close(m.looked)
	}
	return err
}

// Await waits for the first attempt at admission, and says why the
// machine cannot use the bucket yet.
func (m *Admission) Await(ctx context.Context) error {
	select {
	case <-m.looked:
	case <-ctx.Done():
		return ctx.Err()
	}
	if m.IsAdmitted() {
		return nil
	}
	return *m.failure.Load()
}

func (m *Admission) tryAdmit(ctx context.Context, role ha.Role) error {
	b, cluster, err := control.Open(ctx, m.host.Config)
	if err != nil {
		return err
	}
	m.host.Opened(&cluster)
	if b.Cluster() != m.host.Control.Cluster() {
		return fmt.Errorf("%w: it holds another cluster (%s) than the data folder %s belongs to (%s): check UNDERSTUDY_BUCKET and UNDERSTUDY_DATA_DIR",
			control.ErrBucket, b.Cluster(), m.host.Folder, m.host.Control.Cluster())
	}
	if err := CheckStore(ctx, m.host.Config.Store, m.host.Config.Timeout, m.host.Random); err != nil {
		return err
	}
	err = m.takeName(ctx)
	if errors.Is(err, errDeregistered) {
		err = m.registerAgain(ctx, role)
	}
	return err
}

// takeName makes the record this process's own. The instance that the head names,
// and that knows the head, takes the record from whoever has it: a copy of its data
// folder may have written it meanwhile. One that cannot be the true one leaves the
// record alone; so does one whose name is another's, as long as its state may be in
// no backup: it has to run to keep that.
func (m *Admission) takeName(ctx context.Context) error {
	h, err := m.host.Control.Head(ctx)
	if err != nil { // the machine tells what is wrong, and nobody knows what this instance owes
		err := m.registrar.Take(ctx, m.host.Record(), false, false)
		if ha.IsRefusal(err) {
			m.registrar.mute, err = true, nil
		}
		return err
	}
	if err := m.host.Allow(h); err != nil {
		return err
	}
	j := &m.host.Begun
	named, knows := h.Active.Name == m.host.Self.Name, j.Doubt == "" && j.Knows(h)
	if j.Doubt != "" || named && j.Role == ha.RoleActive && !knows && !h.IsOlder(j.Seen) { // an older head than this folder has seen says nothing of copies
		m.registrar.mute = true
		return nil
	}
	m.registrar.force = named && knows
	err = m.registrar.Take(ctx, m.host.Record(), false, false)
	missed := j.Seen.Epoch > 0 && h.Epoch > j.Seen.Epoch+1
	if owes := named || missed || j.Role == ha.RoleActive || j.Demotion != nil || j.Promotion != nil; owes && ha.IsRefusal(err) {
		m.registrar.mute = true
		return nil
	}
	return err
}

// registerAgain makes this instance's record anew, unless it is gone because
// the instance was removed.
func (m *Admission) registerAgain(ctx context.Context, role ha.Role) error {
	if role != ha.RoleActive {
		removed, err := m.removed(ctx)
		if err != nil {
			return err
		}
		if removed {
			return &ha.Refusal{Reason: fmt.Sprintf("the instance %s was removed from the cluster: join it again with: understudy join", m.host.Self.Name)}
		}
	}
	return m.registrar.Take(ctx, m.host.Record(), true, false)
}

// removed reads whether the configuration in force says that this instance was
// removed.
func (m *Admission) removed(ctx context.Context) (bool, error) {
	h, err := m.host.Control.Head(ctx)
	if err != nil {
		return false, err
	}
	c, err := m.host.ConfigWith(ctx, h.Config)
	if err != nil {
		return false, err
	}
	return c.Removed(m.host.Self.Name), nil
}

// PutRecord writes the record. The instance that leads takes it back from whoever
// has written it: the head decides whose the name is. One that the head refuses writes
// none any more, whatever it knows of its original's incarnations: what the original says
// of it has to stay. One whose name is another's, and whose state may be in no backup, goes
// on without a record, in red.
func (m *Admission) PutRecord(ctx context.Context, rec ha.Instance) error {
	r, core := m.registrar, m.host.View()
	owes := core.Owes || core.Head == nil // before the head was read nobody knows
	r.force = core.Leading
	r.mute = core.Refused != "" || r.mute && owes && !core.Leading
	err := r.put(ctx, rec)
	if errors.Is(err, errDeregistered) {
		err = m.registerAgain(ctx, core.Role)
	}
	const key = "name"
	switch {
	case ha.IsRefusal(err) && owes:
		r.mute = true
		m.host.Log.Trouble(ctx, IdentityKind, key, err.Error())
		return nil
	case err == nil && !r.mute:
		m.host.Log.TroubleOver(ctx, IdentityKind, key, "the name is this instance's own again")
		m.tellThief(ctx)
	}
	return err
}

// IdentityKind is the kind of events about whose a name is.
const IdentityKind = "identity"

// theftTold is for how long it is told that another process has written this
// instance's record.
const theftTold = 10 * time.Minute

// tellThief tells who else has written the record of this instance, lately.
func (m *Admission) tellThief(ctx context.Context) {
	const key = "record"
	r, now := m.registrar, m.host.Clock.Now().Mono
	switch {
	case r.thief != "":
		m.host.Log.Trouble(ctx, IdentityKind, key, fmt.Sprintf("another process under the name %s (incarnation %s) has written its record: a copy of its data folder runs, or ran, on another host; it is not the active: find it, stop its agent, and join it under a name of its own (UNDERSTUDY_INSTANCE) with: understudy join --replace", m.host.Self.Name, r.thief))
		r.thief, m.stolen = "", now
	case m.stolen != 0 && now-m.stolen > theftTold:
		m.stolen = 0
		m.host.Log.TroubleOver(ctx, IdentityKind, key, "no other process writes this instance's record any more")
	}
}

func closed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
