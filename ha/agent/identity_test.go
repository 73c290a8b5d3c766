package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
)

// runOnce runs an agent, for a while at most, and gives why it has ended.
func runOnce(t *testing.T, cfg Config) error {
	t.Helper()
	a, err := Open(t.Context(), cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return errors.Join(a.Run(ctx), a.Close())
}

// refusesToOpen starts an agent that must not run, and gives its error.
func (h *host) refusesToOpen(says ...string) error {
	h.t.Helper()
	err := runOnce(h.t, h.config())
	if err == nil {
		h.t.Errorf("start %s: want an error", h.name)
		return nil
	}
	for _, text := range says {
		if !strings.Contains(err.Error(), text) {
			h.t.Errorf("open %s: %v\nwant it to say %q", h.name, err, text)
		}
	}
	return err
}

func TestAWrongKeyIsRefusedAndChangesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b := c.host("a"), c.host("b")
		a.init()
		keys := c.memory.Keys()
		b.ring = newRing(t)
		if _, err := Join(t.Context(), b.config(), Joining{}); !errors.Is(err, seal.ErrUnknownKey) {
			t.Errorf("join with a wrong key: %v", err)
		}
		if _, err := Init(t.Context(), b.config(), ha.DefaultConfig()); !errors.Is(err, seal.ErrUnknownKey) {
			t.Errorf("init with a wrong key: %v", err)
		}
		a.ring = b.ring
		if err := a.refusesToOpen("paste the cluster's key"); !errors.Is(err, seal.ErrUnknownKey) {
			t.Errorf("open with a wrong key: %v", err)
		}
		if now := c.memory.Keys(); strings.Join(now, " ") != strings.Join(keys, " ") {
			t.Errorf("the bucket has changed: %v", now)
		}
	})
}

func TestAnotherClustersBucketIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, other := c.host("a"), c.host("x")
		a.init()
		other.store = storetest.NewFaulty(storetest.NewMemory())
		other.init()
		a.store = other.store
		if err := a.refusesToOpen("another cluster"); !errors.Is(err, control.ErrBucket) {
			t.Errorf("not ErrBucket: %v", err)
		}
		if _, err := Join(t.Context(), a.config(), Joining{}); !errors.Is(err, control.ErrBucket) {
			t.Errorf("join with the data folder of another cluster: %v", err)
		}
	})
}

func TestABucketWithoutAClusterSaysWhatToDo(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a := c.host("a")
		if err := a.refusesToOpen("understudy init"); !errors.Is(err, control.ErrBucket) {
			t.Errorf("not ErrBucket: %v", err)
		}
		if _, err := Join(t.Context(), a.config(), Joining{}); !errors.Is(err, control.ErrBucket) {
			t.Errorf("join: %v", err)
		}
		a.init()
		if err := c.host("b").refusesToOpen("understudy join"); !errors.Is(err, ErrNotMember) {
			t.Errorf("not ErrNotMember: %v", err)
		}
	})
}

func TestASecondClusterInTheBucketIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b := c.host("a"), c.host("b")
		a.init()
		_, err := Init(t.Context(), b.config(), ha.DefaultConfig())
		if !ha.IsRefusal(err) || !strings.Contains(err.Error(), "join") {
			t.Errorf("init in a bucket with a cluster: %v", err)
		}
		if _, err := Init(t.Context(), a.config(), ha.DefaultConfig()); !ha.IsRefusal(err) {
			t.Errorf("init again: %v", err)
		}
	})
}

func TestANameInUseIsRefusedUnlessReplaced(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, _ := threeHosts(t, c)
		second := c.host("b2")
		second.name = "b"
		if _, err := Join(t.Context(), second.config(), Joining{}); !ha.IsRefusal(err) || !strings.Contains(err.Error(), "--replace") {
			t.Fatalf("join under a name in use: %v", err)
		}
		if _, err := os.Stat(filepath.Join(second.data, datadir.JournalFile)); !os.IsNotExist(err) {
			t.Errorf("a refused join leaves a journal: %v", err)
		}
		second.join(true)
		second.start()
		if err := b.ended(); !ha.IsRefusal(err) || !strings.Contains(err.Error(), "in use") {
			t.Errorf("the one that was replaced ends with: %v", err)
		}
		b.stop = nil
		id := a.backup()
		second.untilCached(id)
	})
}

func TestACopiedDataFolderIsRefused(t *testing.T) {
	for _, role := range []string{"active", "standby"} {
		for _, seen := range []bool{true, false} {
			t.Run(fmt.Sprint(role, " seen ", seen), func(t *testing.T) {
				inBubble(t, func(t *testing.T, c *cluster) {
					a, b, _, _ := threeHosts(t, c)
					original := map[string]*host{"active": a, "standby": b}[role]
					original.halt()
					clone := c.host("clone")
					clone.name = original.name
					original.copyData(clone.data)
					if !seen {
						clone.unnoticed()
					}
					original.start()
					original.until("admitted, and first", func(s report.Status) bool {
						return original.agent.admission.IsAdmitted() && (role != "active" || s.Leading)
					})
					if role == "standby" && !seen {
						if err := clone.refusesToOpen("in use by another instance"); !ha.IsRefusal(err) {
							t.Errorf("the copy: %v", err)
						}
					} else {
						clone.start()
						s := clone.until("refused", func(s report.Status) bool { return s.State == report.StateRefused && s.App == "stopped" })
						if s.Leading || s.Healthy || seen != strings.Contains(s.Refused, "understudy accept-host") || !strings.Contains(s.Refused, "join --replace") {
							t.Errorf("%+v", s)
						}
					}
					original.until("goes on", func(s report.Status) bool { return s.Bucket == "ok" && s.Refused == "" })
					if role == "active" {
						original.backup()
					}
				})
			})
		}
	}
}

// A copy of a running active's folder knows the record, and not the head.
func TestACopyOfARunningActiveDoesNotLockItOut(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, _, _, _ := threeHosts(t, c)
		clone := c.host("clone")
		clone.name = a.name
		a.copyData(clone.data)
		a.backup() // the head moves on
		clone.start()
		clone.until("refused", func(s report.Status) bool { return s.Refused != "" && !s.Leading })
		if clone.hooks.isRunning() {
			t.Error("the copy's application runs")
		}
		a.backup()
		a.halt()
		a.start()
		a.untilLeading()
	})
}

func TestARolledBackDataFolderIsRefusedAndCanJoinAfresh(t *testing.T) {
	for _, seen := range []bool{true, false} {
		t.Run(fmt.Sprint("seen ", seen), func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *cluster) {
				a, b, _, _ := threeHosts(t, c)
				a.halt()
				old := filepath.Join(t.TempDir(), "old")
				a.copyData(old)
				a.start()
				a.untilLeading()
				a.write("state", "two")
				id := a.backup()
				a.halt()
				a.putBack(old, seen)
				if _, err := Join(t.Context(), a.config(), Joining{}); !ha.IsRefusal(err) || !strings.Contains(err.Error(), "serve") {
					t.Errorf("join without --replace: %v", err)
				}
				a.write("state", "rolled back too")
				a.join(true)
				a.start()
				a.untilCached(id)
				a.until("its state is kept", func(s report.Status) bool { return s.Demotion != nil && s.Demotion.Told })
				b.lists("rolled back too")
				a.until("the active is silent", func(s report.Status) bool { return s.Silent() })
				a.promote(promotions.PromotionRequest{Mode: ha.ModeFailover})
				a.untilLeading()
				a.has(map[string]string{"state": "two"})
			})
		})
	}
}

func TestAHeadThatIsGoneIsAnAlarmNotANewCluster(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, _ := threeHosts(t, c)
		a.halt()
		if err := c.memory.Delete(t.Context(), ha.HeadKey); err != nil {
			t.Fatal(err)
		}
		b.until("alarm", func(s report.Status) bool { return strings.Contains(s.Bucket, "no head.json") && !s.Healthy })
		a.start()
		a.until("alarm", func(s report.Status) bool { return strings.Contains(s.Bucket, "no head.json") })
		if s := a.agent.Status(); s.Leading {
			t.Error("active without a head")
		}
		d := c.host("e")
		if _, err := Join(t.Context(), d.config(), Joining{}); !errors.Is(err, control.ErrBucket) || !strings.Contains(err.Error(), "head") {
			t.Errorf("join: %v", err)
		}
		if _, err := Init(t.Context(), d.config(), ha.DefaultConfig()); !errors.Is(err, control.ErrBucket) || !strings.Contains(err.Error(), "history") {
			t.Errorf("init: %v", err)
		}
		if err := c.memory.Delete(t.Context(), ha.ClusterKey); err != nil {
			t.Fatal(err)
		}
		if _, err := Init(t.Context(), d.config(), ha.DefaultConfig()); !errors.Is(err, control.ErrBucket) {
			t.Errorf("init without cluster.json: %v", err)
		}
	})
}

// TestAClusterObjectThatIsGoneIsSaidToBe: nobody is told to make a new cluster where
// there is one.
func TestAClusterObjectThatIsGoneIsSaidToBe(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		threeHosts(t, c)
		if err := c.memory.Delete(t.Context(), ha.ClusterKey); err != nil {
			t.Fatal(err)
		}
		d := c.host("e")
		_, err := Join(t.Context(), d.config(), Joining{})
		if !errors.Is(err, control.ErrBucket) || !strings.Contains(err.Error(), "somebody deleted it") || strings.Contains(err.Error(), "understudy init") {
			t.Errorf("join: %v", err)
		}
		if _, err := Init(t.Context(), d.config(), ha.DefaultConfig()); !errors.Is(err, control.ErrBucket) {
			t.Errorf("init: %v", err)
		}
	})
}

func TestAnInterruptedInitCanBeRunAgain(t *testing.T) {
	for _, at := range []string{"cluster.json", "config/**", "instances/**", "head.json"} {
		for name, fault := range map[string]storetest.Action{
			"not written": storetest.Fail(blobstore.ErrDenied),
			"crash after": storetest.Then(func(error) { panic(errCrash) }),
		} {
			t.Run(at+" "+name, func(t *testing.T) {
				inBubble(t, func(t *testing.T, c *cluster) {
					a := c.host("a")
					a.store.Inject(storetest.Fault{Op: storetest.Put, Key: at, Times: 1, Do: fault})
					if err := crashing(func() error { _, err := Init(t.Context(), a.config(), ha.DefaultConfig()); return err }); err == nil {
						t.Fatal("the init was not interrupted")
					}
					if name == "not written" || at != "head.json" {
						a.refusesToOpen("run understudy init")
					}
					a.init()
					a.start()
					a.untilLeading()
					a.backup()
				})
			})
		}
	}
}

var errCrash = errors.New("crash")

// crashing turns a crash into an error.
func crashing(do func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			if e, ok := r.(error); !ok || !errors.Is(e, errCrash) {
				panic(r)
			}
			err = errCrash
		}
	}()
	return do()
}

func TestADataFolderIsUsedByOneAgent(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a := c.host("a")
		a.init()
		a.start()
		if err := a.refusesToOpen("stop it first"); !errors.Is(err, datadir.ErrLocked) {
			t.Errorf("not datadir.ErrLocked: %v", err)
		}
	})
}

func TestAnAgentThatStartsWithoutTheBucketGoesOnWhenItIsBack(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, _ := threeHosts(t, c)
		a.halt()
		a.hooks.running = false // the host was started anew
		a.store.Inject(storetest.Fault{Times: storetest.Forever, Do: storetest.Fail(blobstore.ErrUnavailable)})
		a.start()
		s := a.until("bucket failing", func(s report.Status) bool { return s.Bucket != "ok" && s.BucketFailing > 30 })
		if s.Leading || a.hooks.isRunning() {
			t.Error("the application was started without the bucket")
		}
		if err := a.agent.requests.StartAnyway(event.WithActor(t.Context(), "an operator")); err != nil {
			t.Fatal(err)
		}
		a.until("running on an operator's word", func(s report.Status) bool { return s.Override && s.App == "running" })
		a.store.Heal()
		a.untilLeading()
		id := a.backup()
		b.untilCached(id)
		a.until("in the table", func(s report.Status) bool { return len(s.Instances) == 3 })
	})
}

func TestAnActiveWithAnOldJournalIsRefusedByTheHeadAndCanBePromoted(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, _, _, _ := threeHosts(t, c)
		old := filepath.Join(t.TempDir(), "old")
		a.copyData(old) // as a snapshot of the running host has it
		a.write("state", "two")
		a.backup()
		a.halt()
		a.hooks.running = false
		if err := errors.Join(os.RemoveAll(a.data), os.CopyFS(a.data, os.DirFS(old))); err != nil {
			t.Fatal(err)
		}
		a.write("state", "rolled back too")
		a.start()
		s := a.until("refused", func(s report.Status) bool { return s.Refused != "" })
		if s.Healthy || s.State != report.StateRefused || s.Leading || a.hooks.isRunning() {
			t.Errorf("%+v", s)
		}
		if _, err := a.agent.requests.Backup(t.Context(), "", ""); !ha.IsRefusal(err) {
			t.Errorf("a backup: %v", err)
		}
		a.until("its own state is kept", func(s report.Status) bool { return s.Demotion != nil && s.Demotion.Made })
		a.promote(promotions.PromotionRequest{Mode: ha.ModeFailover})
		a.untilLeading()
		a.has(map[string]string{"state": "two"})
	})
}

func TestInitRefusesABucketWithOtherObjects(t *testing.T) {
	for name, object := range map[string]string{"a file": "notes.txt", "a folder": "photos/a.jpg", "another cluster": "other/head.json", "like ours": "head.json.bak", "in a folder like ours": "packs2/x"} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *cluster) {
				a := c.host("host-a")
				if _, err := c.memory.Put(t.Context(), object, []byte("x"), blobstore.Always); err != nil {
					t.Fatal(err)
				}
				_, err := Init(t.Context(), a.config(), ha.DefaultConfig())
				if !ha.IsRefusal(err) || !strings.Contains(err.Error(), object) || !strings.Contains(err.Error(), "prefix of its own") {
					t.Errorf("init beside %s: %v", object, err)
				}
				if err := c.memory.Delete(t.Context(), object); err != nil {
					t.Fatal(err)
				}
				if _, err := Init(t.Context(), a.config(), ha.DefaultConfig()); err != nil {
					t.Errorf("init once the bucket is empty: %v", err)
				}
			})
		})
	}
}
