package ha

import (
	"errors"
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/backup/stream"
)

// Config is what all instances of a cluster share. It is in force once a head
// names its digest.
type Config struct {
	Format      int      `json:"format"`
	Cluster     string   `json:"cluster"`
	Frequency   Duration `json:"frequency"`
	Retention   Duration `json:"retention"`
	ReuseWindow Duration `json:"reuse_window"`
	Fencing     Fencing  `json:"fencing"`
	DataKey     string   `json:"data_key"` // wrapped
	Instances   []Member `json:"instances"`
	// Secrets is the part that only key holders may read (console users,
	// webhooks), sealed.
	Secrets string `json:"secrets,omitempty"`
}

// Member is an instance that the cluster knows of.
type Member struct {
	Name    string `json:"name,omitempty"` // empty: registered by URL, ahead of its join
	URL     string `json:"url,omitempty"`
	Removed bool   `json:"removed,omitempty"` // refused until it joins again
}

// DefaultConfig is the configuration of a new cluster.
func DefaultConfig() Config {
	return Config{
		Format:      Format,
		Frequency:   Duration(5 * time.Minute),
		Retention:   Duration(14 * 24 * time.Hour),
		ReuseWindow: Duration(7 * 24 * time.Hour),
		Fencing: Fencing{
			Mode:        Available,
			TTL:         Duration(60 * time.Second),
			StopTimeout: Duration(20 * time.Second),
			Margin:      Duration(10 * time.Second),
		},
	}
}

// MinFrequency is the shortest replication interval.
const MinFrequency = time.Minute

// Validate checks a configuration for instances that poll every poll. Its
// errors say what to do.
func (c *Config) Validate(poll time.Duration) error {
	f := c.Fencing
	switch {
	case time.Duration(c.Frequency) < MinFrequency:
		return fmt.Errorf("frequency %v is too short: backups are taken at most once a minute; set 1m or more", c.Frequency)
	case c.Retention <= 0 || c.ReuseWindow <= 0:
		return errors.New("retention and reuse_window must be longer than nothing")
	case f.Mode != Available && f.Mode != Strict:
		return fmt.Errorf("fencing %q is unknown: set available or strict", f.Mode)
	case f.StopTimeout <= 0 || f.Margin <= 0:
		return errors.New("stop_timeout and margin must be longer than nothing")
	case time.Duration(f.TTL) < 3*poll+time.Duration(f.StopTimeout)+time.Duration(f.Margin):
		return fmt.Errorf("ttl %v is too short: it must be at least three polls (%v each) plus stop_timeout (%v) plus margin (%v), %v",
			f.TTL, poll, f.StopTimeout, f.Margin, 3*poll+time.Duration(f.StopTimeout)+time.Duration(f.Margin))
	}
	return nil
}

// Member finds a member by name.
func (c *Config) Member(name string) (Member, bool) {
	for _, m := range c.Instances {
		if m.Name == name {
			return m, true
		}
	}
	return Member{}, false
}

// Removed reports whether an instance was removed from the cluster; nil for a
// configuration that is not known.
func (c *Config) Removed(name string) bool {
	if c == nil {
		return false
	}
	m, found := c.Member(name)
	return found && m.Removed
}

// Instance is what an instance says of itself.
type Instance struct {
	Format      int      `json:"format"`
	Cluster     string   `json:"cluster"`
	Name        string   `json:"name"`
	URL         string   `json:"url,omitempty"`
	Incarnation string   `json:"incarnation"`
	Nonce       string   `json:"nonce"`
	Role        Role     `json:"role"`
	State       string   `json:"state"` // for people: "active", "in sync", "behind", …
	Epoch       uint64   `json:"epoch"`
	Version     string   `json:"version"`
	Keys        []string `json:"keys"`             // ids of the keys that it knows
	Cached      []string `json:"cached,omitempty"` // ids of backups, newest first
	Newest      string   `json:"newest,omitempty"` // id of the newest backup that it has seen
	// Rehearsals attests the rehearsals of cached backups: the newest of each, newest
	// first.
	Rehearsals  []Rehearsal `json:"rehearsals,omitempty"`
	LastError   string      `json:"last_error,omitempty"`
	BackupError string      `json:"backup_error,omitempty"` // of the last backup, on the active
	Paused      *Pause      `json:"paused,omitempty"`       // of the schedule, on the active; without Left
	Troubles    []string    `json:"troubles,omitempty"`     // what is wrong there, for people
	// Missing are digests of packs that the active misses in the bucket: an
	// instance that has one cached puts it back.
	Missing  []string `json:"missing_packs,omitempty"`
	Blockers []string `json:"blockers,omitempty"` // what a standby's host lacks for a promotion
	Ready    bool     `json:"ready,omitempty"`    // a standby's host was looked at lately, and lacks nothing
	// Unstoppable says that nothing on its host can stop the application but people:
	// there is neither a demote hook, nor is it run by the agent.
	Unstoppable bool `json:"unstoppable,omitempty"`
	// Older says that the bucket shows it an older head than it has seen.
	Older *Sighting `json:"older_head,omitempty"`
	// Positions is how far the active's sources had come when this was written,
	// by the source's name, where the source can tell at little cost.
	Positions map[string]string `json:"positions,omitempty"`
	// Shipped is up to when the logs of the active's sources were in the bucket when this
	// was written, by the source's name.
	Shipped map[string]ShippedLog `json:"shipped,omitempty"`
	// Prometheus is the host:port of that host's own, which standbys federate.
	Prometheus string    `json:"prometheus,omitempty"`
	Time       time.Time `json:"time"`
}

// ShippedLog is up to when a source's log is in the bucket: what the active had read by then
// is in that stream, or before it.
type ShippedLog struct {
	Stream stream.ID `json:"stream"`
	UpTo   time.Time `json:"up_to"`
}
