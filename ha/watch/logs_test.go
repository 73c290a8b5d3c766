package watch

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha"
)

// keeping is a server that keeps log; one that hangs answers when nobody waits any more.
type keeping struct {
	source.LogKeeper
	source.Source

	kept  source.Kept
	err   error
	hangs bool
	asked *source.Entry
}

func (k *keeping) Name() string { return "db" }

func (k *keeping) Kept(ctx context.Context, newest *source.Entry) (source.Kept, error) {
	k.asked = newest
	if k.hangs {
		<-ctx.Done()
		return source.Kept{}, ctx.Err()
	}
	return k.kept, k.err
}

// TestWhatServersKeepIsAsOfTheirLastAnswer: who reads it waits for none of them.
func TestWhatServersKeepIsAsOfTheirLastAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.core.Role, f.core.Leading = ha.RoleActive, true
		db := &keeping{kept: source.Kept{Bytes: 7}}
		l := NewLogs(f, func() []source.Source { return []source.Source{db} }, func(*ha.Head) []source.Entry {
			return []source.Entry{{Name: "other"}, {Name: "db", Size: 5}}
		}, f)
		if k, ok := l.Read("db"); ok {
			t.Errorf("nobody was asked: %+v", k)
		}
		l.Turn(t.Context())
		first := f.now.Wall
		if k, ok := l.Read("db"); !ok || k.Bytes != 7 || !k.At.Equal(first) || k.Error != "" || db.asked == nil || db.asked.Size != 5 {
			t.Errorf("it has answered: %+v, %t, of %+v", k, ok, db.asked)
		}
		f.pass(time.Minute)
		db.hangs = true
		ended := make(chan struct{})
		go func() { l.Turn(t.Context()); close(ended) }()
		synctest.Wait()
		if k, _ := l.Read("db"); k.Bytes != 7 || !k.At.Equal(first) {
			t.Errorf("it hangs: %+v", k)
		}
		<-ended
		if k, _ := l.Read("db"); k.Bytes != 7 || !k.At.Equal(first) || k.Error == "" {
			t.Errorf("it was given up: %+v", k)
		}
		db.hangs, db.err = false, errors.New("refused")
		l.Turn(t.Context())
		if k, _ := l.Read("db"); k.Error != "refused" || k.Bytes != 7 {
			t.Errorf("it refuses: %+v", k)
		}
		f.core.Role = ha.RoleStandby
		l.Turn(t.Context())
		if k, ok := l.Read("db"); ok {
			t.Errorf("it is a standby's: %+v", k)
		}
	})
}

// TestForHowLongCommitsDoNotWaitIsKnown: between two answers, and no longer.
func TestForHowLongCommitsDoNotWaitIsKnown(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.core.Role, f.core.Leading = ha.RoleActive, true
	db := &keeping{}
	l := NewLogs(f, func() []source.Source { return []source.Source{db} }, func(*ha.Head) []source.Entry { return nil }, f)
	for _, c := range []struct {
		synced, waits bool
		want          time.Duration
	}{
		{true, false, 0}, {true, false, time.Minute}, {true, false, 2 * time.Minute}, {true, true, 0}, {true, false, 0}, {false, false, 0},
	} {
		db.kept.Synced, db.kept.Waits = c.synced, c.waits
		l.Turn(t.Context())
		if k, _ := l.Read("db"); k.Unsynced != c.want {
			t.Errorf("%+v: %v", c, k.Unsynced)
		}
		f.pass(time.Minute)
	}
	if db.asked != nil {
		t.Errorf("the newest backup is not known: %+v", db.asked)
	}
}
