package membership

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
)

// Registrar keeps one instance's record in the bucket, and finds out whether
// anybody else has this instance's name. It is not safe for concurrent use.
type Registrar struct {
	control *control.Store
	self    ha.Peer
	known   []string // incarnations that are this data folder's own
	random  io.Reader

	cond blobstore.Condition // that the next write is under
	look bool                // the record must be read before it is written
	mute bool                // the record is left to another process

	force bool   // the head says that the name is this process's, whoever has written the record
	thief string // incarnation of another process whose record was replaced
}

// NewRegistrar keeps the record of self. known are earlier incarnations that are this data
// folder's own.
func NewRegistrar(b *control.Store, self ha.Peer, known []string, random io.Reader) *Registrar {
	return &Registrar{control: b, self: self, known: known, random: random, look: true}
}

// errDeregistered means that an instance's record is gone.
var errDeregistered = errors.New("the instance's record is gone")

// Current reads the instance's record; nil when there is none. One that cannot
// be verified is nobody's, and may be replaced: whoever can write to the bucket
// without the key must not stop an instance by it.
func (r *Registrar) Current(ctx context.Context) (*ha.Instance, blobstore.Attrs, error) {
	object, attrs, err := r.control.Read(ctx, ha.KindInstance, ha.InstanceKey(r.self.Name), "")
	switch {
	case errors.Is(err, blobstore.ErrNotFound):
		return nil, blobstore.Attrs{}, nil
	case errors.Is(err, control.ErrUnverified):
		return &ha.Instance{Incarnation: r.self.Incarnation}, attrs, nil
	case err != nil:
		return nil, attrs, err
	}
	return object.(*ha.Instance), attrs, nil
}

// Owns reports whether a record may be replaced: this data folder wrote it, or the
// head says that the name is this process's.
func (r *Registrar) Owns(rec *ha.Instance) bool {
	if rec.Incarnation == r.self.Incarnation || slices.Contains(r.known, rec.Incarnation) {
		return true
	}
	if r.force {
		r.thief = rec.Incarnation
	}
	return r.force
}

// InUse is the refusal of a name that another instance has.
func (r *Registrar) InUse(rec *ha.Instance, at time.Time) error {
	return &ha.Refusal{Reason: fmt.Sprintf(
		"the name %s is in use by another instance (incarnation %s, last seen %s): take it over with: understudy join --replace; or, on a host that was never in this cluster, choose another name",
		r.self.Name, rec.Incarnation, at.UTC().Format(time.RFC3339))}
}

// Take makes the name this process's own, or refuses when it is somebody
// else's. With replace it takes it over from anybody. A record that is gone is
// errDeregistered unless create is set.
func (r *Registrar) Take(ctx context.Context, rec ha.Instance, create, replace bool) error {
	old, attrs, err := r.Current(ctx)
	switch {
	case err != nil:
		return err
	case old == nil && !create:
		return errDeregistered
	case old == nil:
		r.cond = blobstore.IfAbsent()
	case !replace && !r.Owns(old):
		return r.InUse(old, attrs.Time)
	default:
		r.cond = blobstore.IfMatch(attrs.Token)
	}
	r.look = false
	return r.put(ctx, rec)
}

// put writes the record and resolves an unknown outcome: it is done when the
// record with this attempt's nonce, or a later one, is in place.
func (r *Registrar) put(ctx context.Context, rec ha.Instance) error {
	if r.mute {
		return nil
	}
	rec.Format, rec.Cluster = ha.Format, r.control.Cluster()
	rec.Name, rec.URL, rec.Incarnation = r.self.Name, r.self.URL, r.self.Incarnation
	key := ha.InstanceKey(rec.Name)
	var last error
	for range 5 {
		if r.look {
			if placed, err := r.adopt(ctx, rec.Nonce); placed || err != nil {
				return err
			}
		}
		nonce, err := RandomHex(r.random, 16)
		if err != nil {
			return err
		}
		rec.Nonce = nonce
		token, err := r.control.Write(ctx, ha.KindInstance, key, &rec, r.cond)
		if err == nil {
			r.cond = blobstore.IfMatch(token)
			return nil
		}
		r.look, last = true, err
		if !errors.Is(err, blobstore.ErrPrecondition) && !errors.Is(err, blobstore.ErrUnknownOutcome) {
			return err
		}
	}
	return last
}

// adopt reads the record and makes the next write replace it. It reports true
// when it is the very one that was written.
func (r *Registrar) adopt(ctx context.Context, nonce string) (placed bool, err error) {
	rec, attrs, err := r.Current(ctx)
	switch {
	case err != nil:
		return false, err
	case rec == nil && r.cond.Absent():
		return false, nil // the first write has not landed
	case rec == nil:
		return false, errDeregistered
	case !r.Owns(rec):
		return false, r.InUse(rec, attrs.Time)
	}
	r.cond, r.look = blobstore.IfMatch(attrs.Token), false
	return nonce != "" && rec.Nonce == nonce, nil
}

// Leave removes the record, if it is this data folder's own.
func (r *Registrar) Leave(ctx context.Context) error {
	rec, _, err := r.Current(ctx)
	if err != nil || rec == nil || !r.Owns(rec) {
		return err
	}
	return r.control.Remove(ctx, ha.InstanceKey(r.self.Name))
}

// AtItsURL reads the records of this instance: of its name, and of its URL, for it may
// have had another name.
func (r *Registrar) AtItsURL(ctx context.Context) ([]*ha.Instance, error) {
	own, _, err := r.Current(ctx)
	if err != nil {
		return nil, err
	}
	all, err := r.control.AtURL(ctx, r.self.URL)
	if own != nil {
		all = append(all, own)
	}
	return all, err
}

// RandomHex is n random bytes in hex.
func RandomHex(random io.Reader, n int) (string, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(random, b); err != nil {
		return "", fmt.Errorf("read random bytes: %w", err)
	}
	return hex.EncodeToString(b), nil
}
