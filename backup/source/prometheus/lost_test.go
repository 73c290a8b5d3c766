package prometheus

import (
	"encoding/json"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

func TestMetricsThatBecameEmptyAreTold(t *testing.T) {
	entry := func(samples uint64) source.Entry {
		raw, err := json.Marshal(Facts{Samples: samples})
		sourcetest.Must(t, err)
		return source.Entry{Kind: "prometheus", Facts: raw}
	}
	was, is := entry(7), entry(0)
	if source.Lost(was, is) == "" || source.Lost(is, was) != "" || source.Lost(was, was) != "" {
		t.Errorf("%q, %q", source.Lost(was, is), source.Lost(is, was))
	}
}
