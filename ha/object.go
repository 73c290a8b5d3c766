package ha

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/backup"
)

// Format is the version of every control object.
const Format = 1

// Kind is the type of a control object. It is also the type that the object's
// signature covers.
type Kind string

// Kinds of control objects.
const (
	KindCluster  Kind = "cluster"
	KindHead     Kind = "head"
	KindLease    Kind = "lease"
	KindConfig   Kind = "config"
	KindMarker   Kind = "marker"
	KindAck      Kind = "ack"
	KindSalvage  Kind = "salvage-record"
	KindInstance Kind = "instance"
)

// Keys of the control objects in the bucket.
const (
	ClusterKey      = "cluster.json"
	HeadKey         = "head.json"
	LeaseKey        = "lease.json"
	InstancesPrefix = "instances/"
)

// ConfigKey is where the configuration with this digest lies.
func ConfigKey(digest string) string { return "config/" + digest + ".json" }

// MarkerKey is where the marker that begins epoch lies.
func MarkerKey(epoch uint64) string { return fmt.Sprintf("demote/%08d.json", epoch) }

// AckKey is where a process acknowledges that epoch has begun. A host and its
// copy have one name, and may both step down: each says so for itself.
func AckKey(epoch uint64, by Peer) string {
	return fmt.Sprintf("demote/%08d.%s.%s.ack.json", epoch, by.Name, by.Incarnation)
}

// SalvageKey is where an instance says what it salvaged when epoch began; nil:
// it had nothing to salvage. A host and its copy have one name, and may both
// salvage: each salvage backup has a record of its own.
func SalvageKey(epoch uint64, by Peer, salvage *backup.Ref) string {
	of := by.Incarnation
	if salvage != nil {
		of = salvage.ID
	}
	return fmt.Sprintf("demote/%08d.%s.%s.salvage.json", epoch, by.Name, of)
}

// OldAckKey is where acknowledgements were until each had a key of its own.
func OldAckKey(epoch uint64, instance string) string {
	return fmt.Sprintf("demote/%08d.%s.ack.json", epoch, instance)
}

// OldSalvageKey is where records of salvage backups were until each had a key
// of its own.
func OldSalvageKey(epoch uint64, instance string) string {
	return fmt.Sprintf("demote/%08d.%s.salvage.json", epoch, instance)
}

// InstanceKey is where an instance describes itself.
func InstanceKey(name string) string { return InstancesPrefix + name + ".json" }

// Peer names one process of one instance.
type Peer struct {
	Name        string `json:"name"`
	URL         string `json:"url,omitempty"`
	Incarnation string `json:"incarnation"` // random, new in every process
}

// Cluster says what lies under the bucket prefix. Its content never changes; it
// is signed again when the shared key is replaced.
type Cluster struct {
	Format int       `json:"format"`
	ID     string    `json:"id"`
	Time   time.Time `json:"time"`
}

// FencingMode says what an active does that cannot reach the bucket.
type FencingMode string

// Fencing modes.
const (
	// Available keeps a running application running, and starts none.
	Available FencingMode = "available"
	// Strict stops the application before a successor may start its own.
	Strict FencingMode = "strict"
)

// Fencing is the part of the configuration that decides how long two
// applications can run at once. It stands in the head itself.
type Fencing struct {
	Mode        FencingMode `json:"mode"`
	TTL         Duration    `json:"ttl"`
	StopTimeout Duration    `json:"stop_timeout"`
	Margin      Duration    `json:"margin"`
}

// Head is the one authority: who is active, in which epoch, and which backup
// is the newest. It is only ever compared and swapped.
type Head struct {
	Format  int    `json:"format"`
	Cluster string `json:"cluster"`
	Epoch   uint64 `json:"epoch"`
	Rev     uint64 `json:"rev"`   // grows by one with every write
	Nonce   string `json:"nonce"` // random, new in every write
	Active  Peer   `json:"active"`
	// Newest is the tip of the chain of backups; at the start of an epoch it is
	// the backup that was restored. Nil before a cluster's first backup.
	Newest *backup.Ref `json:"newest,omitempty"`
	// StartedFrom is the backup that this epoch began with, CutOff the newest
	// one of the epoch before, where that is another.
	StartedFrom *backup.Ref `json:"started_from,omitempty"`
	CutOff      *backup.Ref `json:"cut_off,omitempty"`
	// Streams are those in force, by source. Ended are those that the commit of this
	// epoch closed.
	Streams  map[string]Stream `json:"streams,omitempty"`
	Ended    map[string]Stream `json:"ended,omitempty"`
	Config   string            `json:"config"` // digest of the configuration in force
	Fencing  Fencing           `json:"fencing"`
	Handover *Handover         `json:"handover,omitempty"`
	// Stopped says that the active's agent has ended in good order, with its
	// application. It starts no application before it has claimed the head again;
	// so whoever replaces this very version need not wait for it.
	Stopped bool `json:"stopped,omitempty"`
	// Handed is the id of the lease by which the epoch before was handed over, up to
	// the commit that began this one.
	Handed string `json:"handed,omitempty"`
	// Recovery is the last one from a bucket that was put back.
	Recovery *Recovery `json:"recovery,omitempty"`
	Time     time.Time `json:"time"` // for people
}

// AtRest reports whether no application runs as long as this version of the
// head is the last one: it was handed over, or its agent has ended with it. A
// handover on somebody's word that the application is stopped is no proof of it.
func (h *Head) AtRest() bool {
	return h.Stopped || h.Handover != nil && h.Handover.State == Handed && !h.Handover.Unstopped
}

// NextSequence is the sequence that the next backup has: sequences go on
// across epochs, and past a chain that was cut off.
func (h *Head) NextSequence() uint64 {
	var top uint64
	for _, r := range []*backup.Ref{h.Newest, h.CutOff} {
		if r != nil && r.Sequence > top {
			top = r.Sequence
		}
	}
	return top + 1
}

// HandoverState is how far an active has come in handing over.
type HandoverState string

// States of a handover.
const (
	Preparing HandoverState = "preparing" // asked for; the application is stopping, the final backup is being made
	Handed    HandoverState = "handed"    // the application has stopped, the head's newest backup is the final one
	Declined  HandoverState = "declined"  // cannot be; Reason says why
)

// Handover is the active's answer to a lease that asks for a switchover.
type Handover struct {
	To     Peer          `json:"to"`
	Lease  string        `json:"lease"` // the id of the lease
	State  HandoverState `json:"state"`
	Reason string        `json:"reason,omitempty"`
	// StoppedFor is for how long the application had been stopping or stopped
	// when this was written, on the active's clock; 0: not known, or not yet.
	StoppedFor Duration `json:"stopped_for,omitempty"`
	// Waits is, while it is prepared, what the active waits for; Left for how much
	// longer, before it declines; 0: it does not end by itself.
	Waits string   `json:"waits,omitempty"`
	Left  Duration `json:"left,omitempty"`
	// Unstopped says that nothing on the active's host can stop its application: it is
	// stopped on the word of OnWordOf, and nobody has looked.
	Unstopped bool   `json:"unstopped,omitempty"`
	OnWordOf  string `json:"on_word_of,omitempty"`
}

// says reports whether two say the same, however long it took.
func (h *Handover) says(other *Handover) bool {
	if h == nil || other == nil {
		return h == other
	}
	a, b := *h, *other
	a.StoppedFor, b.StoppedFor, a.Left, b.Left = 0, 0, 0, 0
	return a == b
}

// Mode is how a promotion goes about the old active.
type Mode string

// Modes of promotion.
const (
	ModeSwitchover Mode = "switchover" // with the old active's help
	ModeFailover   Mode = "failover"   // without it
)

// Lease is the promotion lock. It is released by writing Released, never by
// deleting it, and is stale when an observer saw it unchanged for its TTL plus
// the margin on the observer's own clocks.
type Lease struct {
	Format   int      `json:"format"`
	Cluster  string   `json:"cluster"`
	ID       string   `json:"id"`    // random, one for each promotion
	Nonce    string   `json:"nonce"` // random, new in every write
	Holder   Peer     `json:"holder"`
	Purpose  Mode     `json:"purpose"`
	TTL      Duration `json:"ttl"`
	Epoch    uint64   `json:"epoch"` // of the head that the holder last saw
	Rev      uint64   `json:"rev"`
	Released bool     `json:"released,omitempty"`
	// StoppedOnWordOf names who has given their word that the application of the
	// active is stopped; "": nobody has. An active on whose host nothing can stop it
	// hands over on that word only.
	StoppedOnWordOf string `json:"stopped_on_word_of,omitempty"`
	// Cached is the newest backup that the holder has, CachedNone for none; "": nobody need wait
	// for it to have one.
	Cached string    `json:"cached,omitempty"`
	Time   time.Time `json:"time"` // for people
}

// CachedNone is the Cached of a lease whose holder has no backup.
const CachedNone = "none"

// Marker tells the instance that was active in the epoch before that a new one
// has begun. Its absence proves nothing.
type Marker struct {
	Format   int         `json:"format"`
	Cluster  string      `json:"cluster"`
	Epoch    uint64      `json:"epoch"` // the new one
	Nonce    string      `json:"nonce"`
	Active   Peer        `json:"active"` // the new one
	Old      Peer        `json:"old"`    // the one that is to step down
	Restored *backup.Ref `json:"restored,omitempty"`
	CutOff   *backup.Ref `json:"cut_off,omitempty"`
	// Moment is what the sources were brought to whose log has the time of each change;
	// missing: Restored, and the logs after it.
	Moment *time.Time `json:"moment,omitempty"`
	Mode   Mode       `json:"mode,omitempty"`
	By     string     `json:"by,omitempty"`
	Reason string     `json:"reason,omitempty"`
	// HostIsOff says that By has given their word that the old active's host is
	// off: its application was not waited for.
	HostIsOff bool `json:"host_is_off,omitempty"`
	// AppIsStopped says that By has given their word that the old active's
	// application was stopped, where nothing but people could stop it.
	AppIsStopped bool `json:"application_is_stopped,omitempty"`
	// Recovery says that the epoch was begun by one, by nobody's promotion.
	Recovery *Recovery `json:"recovery,omitempty"`
	Time     time.Time `json:"time"`
}

// Ack says that a demoted instance has stepped down, and that its application has
// stopped.
type Ack struct {
	Format   int    `json:"format"`
	Cluster  string `json:"cluster"`
	Epoch    uint64 `json:"epoch"` // the new one
	Nonce    string `json:"nonce"`
	Instance Peer   `json:"instance"`
	// Unstopped says that nothing on its host can stop the application: the instance
	// starts it no more, and whether it still runs nobody knows.
	Unstopped bool      `json:"unstopped,omitempty"`
	Time      time.Time `json:"time"`
}

// SalvageRecord says what a demoted instance kept of the state that never
// reached its successor: a salvage backup, or nothing, because the states were
// the same.
type SalvageRecord struct {
	Format   int         `json:"format"`
	Cluster  string      `json:"cluster"`
	Epoch    uint64      `json:"epoch"` // the new one
	Nonce    string      `json:"nonce"`
	Instance Peer        `json:"instance"`
	Backup   *backup.Ref `json:"backup,omitempty"`
	// Unstopped says that nothing on its host can stop the application: what it has
	// written since is in no backup.
	Unstopped bool      `json:"unstopped,omitempty"`
	Time      time.Time `json:"time"`
}

// Decode reads a control object's verified payload.
func Decode(kind Kind, payload []byte) (any, error) {
	var v any
	switch kind {
	case KindCluster:
		v = new(Cluster)
	case KindHead:
		v = new(Head)
	case KindLease:
		v = new(Lease)
	case KindConfig:
		v = new(Config)
	case KindMarker:
		v = new(Marker)
	case KindAck:
		v = new(Ack)
	case KindSalvage:
		v = new(SalvageRecord)
	case KindInstance:
		v = new(Instance)
	default:
		return nil, fmt.Errorf("decode control object: unknown kind %q", kind)
	}
	if err := json.Unmarshal(payload, v); err != nil {
		return nil, fmt.Errorf("decode %s: %w", kind, err)
	}
	return v, nil
}
