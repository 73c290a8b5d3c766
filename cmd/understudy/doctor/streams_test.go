package doctor

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/seal/sealtest"
	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha"
)

func TestDoctorLooksForTheLogThatNoBackupHolds(t *testing.T) {
	memory := storetest.NewMemory()
	keys, err := seal.NewDataKeys(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := stream.Open(stream.Config{
		Store: memory, Ring: sealtest.NewRing(t, rand.Reader), Cluster: "c", Keys: &keys, Random: rand.Reader, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	ship := func(id stream.ID, from stream.Position, n int) ha.Stream {
		s := ha.Stream{ID: id, From: from, Tip: stream.Tip{To: from}}
		for range n {
			p := stream.Part{Source: "db", Stream: id, To: s.Tip.To + 10, Time: time.Now(), Log: make([]byte, 10)}
			if s.Tip, err = chain.Append(t.Context(), s.Tip, p); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	before := ship(stream.ID{Epoch: 1, N: 1}, 100, 5)
	inForce := ship(stream.ID{Epoch: 2, N: 1}, 140, 3)
	inForce.Before = []ha.Stream{before}
	look := func(s ha.Stream, at stream.Position) Finding {
		t.Helper()
		found := streamFindings(t.Context(), chain, map[string]ha.Stream{"db": s}, map[string]stream.Position{"db": at})
		if len(found) != 1 || !strings.HasPrefix(found[0].Detail, "db: ") && found[0].Result != Bad {
			t.Fatalf("found %+v", found)
		}
		return found[0]
	}
	for at, want := range map[stream.Position]string{100: "yet: 8, and all", 115: "yet: 7, and all", 140: "yet: 3, and all", 165: "yet: 1, and all", 170: "yet: 0, and all"} {
		if f := look(inForce, at); f.Result != Good || !strings.Contains(f.Detail, want) || !strings.Contains(f.Detail, "UTC") {
			t.Errorf("from position %d: %+v, want %s", at, f, want)
		}
	}
	if f := look(ha.Stream{ID: inForce.ID, Unbased: true}, 0); f.Result != Warning || !strings.Contains(f.Detail, "2-1") {
		t.Errorf("a stream without a backup: %+v", f)
	}
	if err := memory.Delete(t.Context(), stream.Key("db", before.ID, 3)); err != nil {
		t.Fatal(err)
	}
	if f := look(inForce, 115); f.Result != Bad || !strings.Contains(f.Detail, "stream 1-1") || !strings.Contains(f.Detail, "a newer backup is needed") {
		t.Errorf("a part is missing: %+v", f)
	}
	if f := look(inForce, 140); f.Result != Good {
		t.Errorf("a part is missing that a backup holds: %+v", f)
	}
	if err := memory.Delete(t.Context(), stream.Key("db", inForce.ID, 3)); err != nil {
		t.Fatal(err)
	}
	if f := look(inForce, 170); f.Result != Bad || !strings.Contains(f.Detail, "ends before what was confirmed") {
		t.Errorf("the part that was confirmed last is missing: %+v", f)
	}
}
