package main

import (
	"encoding/json"
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
