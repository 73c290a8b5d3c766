package source

import (
	"encoding/json"
	"testing"
)

func TestMetricsThatBecameEmptyAreTold(t *testing.T) {
	entry := func(samples uint64) Entry {
		raw, err := json.Marshal(PrometheusFacts{Samples: samples})
		must(t, err)
		return Entry{Kind: "prometheus", Facts: raw}
	}
	was, is := entry(7), entry(0)
	if Lost(was, is) == "" || Lost(is, was) != "" || Lost(was, was) != "" {
		t.Errorf("%q, %q", Lost(was, is), Lost(is, was))
	}
}
