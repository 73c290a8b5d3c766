package agent

import (
	"fmt"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha/upkeep"
)

// charges are what an instance asks of the bucket, by what providers charge
// for.
type charges struct{ writes, reads, lists, deletes int }

// requestsSince counts what a host has asked for since it was asked last.
func (h *host) requestsSince() (n charges) {
	for _, call := range h.store.Calls() {
		switch call.Op {
		case storetest.Put, storetest.Conditional:
			n.writes++
		case storetest.Get, storetest.Stat:
			n.reads++
		case storetest.List:
			n.lists++
		case storetest.Delete:
			n.deletes++
		}
	}
	return n
}

// A bucket is paid by the request. docs/stores.md shows these bounds of an hour of three
// instances at default settings, in which a small state changes between any two backups,
// beside what is measured over HTTP (TestADayCostsWhatTheDocumentationSays).
func TestAnHourCostsWhatTheDocumentationSays(t *testing.T) {
	const looks = 2*60 + 12 + upkeep.WatchAgain // cluster.json and the configuration each minute; new manifests, and some again
	active := charges{
		writes: 372 + 1 + 72 + 12*(1+3),                    // the head at each poll and backup, and once more where the hour begins with that; its own record; manifest and packs
		reads:  360 + 60*3 + 12 + looks + upkeep.TurnPacks, // the lease at each poll; everybody's record; some packs again
		lists:  60 + 12*3 + 5 + 3 + 4,                      // of records, also as standbys tell that they have a backup; of what may have expired; of packs, and of branches that may need them; of small objects
	}
	standby := charges{
		writes: 72,                                  // its own record
		reads:  360 + 360 + 60*3 + 12*(3+3) + looks, // head and lease at each poll; everybody's record; backups
		lists:  60 + 4,                              // of records, of small objects
	}
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, d, _ := threeHosts(t, c)
		c.pass(10 * time.Minute) // what happens once
		for _, h := range c.hosts {
			h.requestsSince()
		}
		for i := range 12 {
			a.write("state", fmt.Sprint("version ", i))
			c.pass(5 * time.Minute)
		}
		for _, h := range []*host{a, b, d} {
			most := standby
			if h == a {
				most = active
			}
			got := h.requestsSince()
			if got.writes > most.writes || got.reads > most.reads || got.lists > most.lists || got.deletes > most.deletes {
				t.Errorf("%s asked %+v in an hour, more than the %+v of the documentation", h.name, got, most)
			}
		}
	})
}

// pass lets the test's own clock go on.
func (c *cluster) pass(d time.Duration) {
	c.t.Helper()
	if err := wait(c.t.Context(), d); err != nil {
		c.t.Fatal(err)
	}
}
