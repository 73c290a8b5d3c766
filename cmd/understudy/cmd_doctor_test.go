package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/cmd/understudy/doctor"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
)

func TestDoctorSaysWhatWouldBreak(t *testing.T) {
	h := newTestHosts(t, "host-a")[0]
	results := func() map[string]doctor.Result {
		out, stderr, _ := understudy(t, h.env, "doctor", "--json")
		var found []doctor.Finding
		if err := json.Unmarshal([]byte(out), &found); err != nil {
			t.Fatalf("printed %s%s: %v", out, stderr, err)
		}
		all := map[string]doctor.Result{}
		for _, f := range found {
			all[f.Name] = f.Result
		}
		return all
	}
	if r := results(); r["bucket"] != doctor.Good || r["clock"] != doctor.Good || r["cluster"] != doctor.Warning || r["source files"] != doctor.Good || r["hook demote"] != doctor.Warning {
		t.Errorf("before init: %v", r)
	}
	h.run("init")
	h.run("doctor")
	if r := results(); r["cluster"] != doctor.Good || r["key"] != doctor.Good || r["data folder"] != doctor.Good {
		t.Errorf("after init: %v", r)
	}
	other, _, _ := understudy(t, nil, "key", "generate")
	h.write("key", other)
	h.write("understudy.yaml", "sources:\n  - {name: files, directory: {path: /nowhere/at-all}}\nprometheus: {targets_file: /nowhere/f.json, address: 'a:1'}\nhooks: {promote: [no-such-program]}\n")
	if r := results(); r["key"] != doctor.Bad || r["source files"] != doctor.Bad || r["hook promote"] != doctor.Bad || r["federation"] != doctor.Warning {
		t.Errorf("broken: %v", r)
	}
	h.fails(exit.Bucket, "not be safe", "doctor")
}

// What the first backup would fail at is found before, and is not called the bucket's.
func TestDoctorFindsWhatTheFirstBackupWould(t *testing.T) {
	h := newTestHosts(t, "host-a")[0]
	good, err := os.ReadFile(h.path("understudy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	h.write("understudy.yaml", string(good)+"  - {name: more, directory: {path: "+h.path("nowhere")+"}}\n")
	found := map[string]doctor.Finding{}
	out, stderr, code := understudy(t, h.env, "doctor", "--json")
	var all []doctor.Finding
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatalf("printed %s%s: %v", out, stderr, err)
	}
	for _, f := range all {
		found[f.Name] = f
	}
	if code != exit.Host || found["source more"].Result != doctor.Bad || found["source more"].Where != doctor.OnHost || found["bucket"].Where != doctor.InBucket || !strings.Contains(stderr, "all of that is on this host") {
		t.Errorf("a folder that is missing: exit %d: %+v %s", code, found, stderr)
	}
	h.write("understudy.yaml", string(good)+"hooks: {promote: [no-such-program]}\n")
	h.fails(exit.Host, "1 of", "doctor")
	h.write("key", "no key")
	h.fails(exit.Bucket, "2 of", "doctor")
}
