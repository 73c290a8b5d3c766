package ha

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// FuzzControlObjects: what a signature holds of is still read with care, as a
// newer version may have written it, or somebody who has the key.
func FuzzControlObjects(f *testing.F) {
	kinds := []Kind{KindCluster, KindHead, KindLease, KindConfig, KindMarker, KindAck, KindSalvage, KindInstance, "other"}
	for i := range kinds {
		for _, text := range []string{`{}`, `{"format":1,"cluster":"c","epoch":3,"time":"2026-01-01T00:00:00Z"}`, `{"fencing":{"mode":"strict","ttl":"1h"},"newest":{"id":"x"}}`, `{"epoch":-1}`, `null`, `[]`, `{"frequency":"-1s"}`} {
			f.Add(uint8(i), []byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, payload []byte) {
		v, err := Decode(kinds[int(kind)%len(kinds)], payload)
		if (v == nil) != (err != nil) {
			t.Fatalf("%v, %v", v, err)
		}
		if err != nil {
			return
		}
		text, err := json.Marshal(v)
		if err != nil {
			return // a time beyond the year 9999
		}
		again, err := Decode(kinds[int(kind)%len(kinds)], text)
		if err != nil {
			t.Fatalf("what was read cannot be read again: %v\n%s", err, text)
		}
		if twice, err := json.Marshal(again); err != nil || string(twice) != string(text) {
			t.Errorf("%s became %s: %v", text, twice, err)
		}
	})
}

// FuzzJournal: a machine starts with any journal, as far as one can be read.
func FuzzJournal(f *testing.F) {
	for _, text := range []string{`{}`, `{"format":1,"role":"active","epoch":3,"promotion":{},"demotion":{},"handover":{},"pending":{}}`, `{"paused":{"until":"2026-01-01T00:00:00Z"}}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var j Journal
		if json.Unmarshal(text, &j) != nil {
			return
		}
		j.clone()
	})
}

func FuzzWords(f *testing.F) {
	for _, text := range []string{"off", "every backup", "every 30m", "1h", "-1s", "9999999h", "every 0s"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := ParseRehearsalPolicy(text); err == nil && time.Duration(p.Every) < 0 {
			t.Errorf("%q is %+v", text, p)
		}
		var d Duration
		if d.UnmarshalText([]byte(text)) == nil {
			again, err := d.MarshalText()
			if err != nil {
				t.Fatal(err)
			}
			var e Duration
			if err := e.UnmarshalText(again); err != nil || e != d {
				t.Errorf("%q: %v, %v", text, e, err)
			}
		}
	})
}

func FuzzDuration(f *testing.F) {
	for _, text := range []string{"5m", "30d", "", "-1h", "1e9h", "99999999999d"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := ParseDuration(text); err == nil && d < 0 && !strings.Contains(text, "-") {
			t.Errorf("%q is %v", text, d)
		}
	})
}
