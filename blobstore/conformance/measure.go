package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/understudy-ha/understudy/blobstore"
)

// Skews of this host's clock against the store's. No decision compares two
// clocks, but notifications carry a time and are refused beyond five minutes.
const (
	oddSkew = 30 * time.Second
	maxSkew = 5 * time.Minute
	// timeSlack is how far the store's times of one version may lie apart: many
	// tell whole seconds.
	timeSlack = 2 * time.Second
)

// errSkewed marks a clock that is too far off.
var errSkewed = errors.New("clock skew")

const (
	// smallRequests is how many puts, and how many gets, latency is taken from;
	// a slow store gets no more of them than fit latencyTime.
	smallRequests = 10
	latencyTime   = 5 * time.Second
	slowRequest   = 2 * time.Second
)

// bulkSizes are sent one after the other, until one takes bulkTime: the last
// one gives the rate.
var bulkSizes = []int{256 << 10, 1 << 20, 4 << 20}

const bulkTime = time.Second

// measurer tests what needs this host's clock.
type measurer struct{ now func() time.Time }

func (m *measurer) tests() []test {
	return []test{
		{"clock", "this host's clock agrees with the store's", m.clock},
		{"time", "the store tells when an object was written, the same to the writer and to a reader", m.times},
		{"latency", "small requests are answered well within a heartbeat", m.latency},
		{"throughput", "data travels at a rate that fits the state", m.throughput},
	}
}

// put writes a small object and tells the store's time, and the host's in the
// middle of the request.
func (m *measurer) put(ctx context.Context, s *scratch, key string) (version, time.Time, error) {
	body := s.body(key)
	before := m.now()
	attrs, err := s.put(ctx, key, body, blobstore.Always)
	return version{body, attrs}, before.Add(m.now().Sub(before) / 2), err
}

func (m *measurer) clock(ctx context.Context, s *scratch) (finding, error) {
	written, here, err := m.put(ctx, s, s.key("clock"))
	if err != nil {
		return finding{}, err
	}
	skew := written.Time.Sub(here).Round(100 * time.Millisecond)
	f := finding{
		detail: fmt.Sprintf("the store's clock is %v from this host's", skew),
		values: map[string]float64{"skew_seconds": skew.Seconds()},
	}
	switch {
	case skew.Abs() > maxSkew:
		return f, &explainedError{f.detail + ": set this host's clock; notifications are refused beyond five minutes", errSkewed}
	case skew.Abs() > oddSkew:
		return f, doubtf("%s: set this host's clock, or times shown to people mislead", f.detail)
	}
	return f, nil
}

func (m *measurer) times(ctx context.Context, s *scratch) (finding, error) {
	const otherwise = "the age of packs is not known, so that expiry could take what a backup needs: use another store"
	key := s.key("time")
	var last blobstore.Attrs
	for range 2 {
		written, _, err := m.put(ctx, s, key)
		if err != nil {
			return finding{}, err
		}
		read, err := s.store.Stat(ctx, key)
		switch {
		case err != nil:
			return finding{}, err
		case written.Time.IsZero() || read.Time.IsZero():
			return finding{}, brokenf("the store does not tell when an object was written: %s", otherwise)
		case written.Time.Sub(read.Time).Abs() > timeSlack:
			return finding{}, brokenf("the store tells the writer of an object %s, and its reader %s, as the time of writing: %s",
				written.Time.UTC().Format(time.RFC3339), read.Time.UTC().Format(time.RFC3339), otherwise)
		case last.Time.Sub(written.Time) > timeSlack:
			return finding{}, brokenf("the store's time went back by %v between two writes: %s", last.Time.Sub(written.Time), otherwise)
		}
		last = written.Attrs
	}
	return saw("told")
}

func (m *measurer) latency(ctx context.Context, s *scratch) (finding, error) {
	key := s.key("latency")
	var puts, gets []time.Duration
	for began := m.now(); len(puts) < smallRequests && (len(puts) == 0 || m.now().Sub(began) < latencyTime); {
		before := m.now()
		if _, err := s.put(ctx, key, s.body(key), blobstore.Always); err != nil {
			return finding{}, err
		}
		between := m.now()
		if _, err := s.read(ctx, key, ""); err != nil {
			return finding{}, err
		}
		puts, gets = append(puts, between.Sub(before)), append(gets, m.now().Sub(between))
	}
	f := finding{
		detail: fmt.Sprintf("put %s (at most %s), get %s (at most %s), of %d each", short(median(puts)), short(slices.Max(puts)),
			short(median(gets)), short(slices.Max(gets)), len(puts)),
		values: map[string]float64{
			"put_median_seconds": median(puts).Seconds(), "put_max_seconds": slices.Max(puts).Seconds(),
			"get_median_seconds": median(gets).Seconds(), "get_max_seconds": slices.Max(gets).Seconds(),
		},
	}
	if max(median(puts), median(gets)) > slowRequest {
		return f, doubtf("%s: heartbeats may come late: raise the cluster's ttl, or use a store that is nearer", f.detail)
	}
	return f, nil
}

func median(of []time.Duration) time.Duration {
	of = slices.Sorted(slices.Values(of))
	return of[len(of)/2]
}

func short(d time.Duration) time.Duration {
	if d < 10*time.Millisecond {
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}

func (m *measurer) throughput(ctx context.Context, s *scratch) (finding, error) {
	key := s.key("bulk")
	var up, down float64 // bytes per second
	for _, size := range bulkSizes {
		body := make([]byte, size)
		if _, err := io.ReadFull(s.random, body); err != nil {
			return finding{}, fmt.Errorf("make an object: %w", err)
		}
		before := m.now()
		if _, err := s.put(ctx, key, body, blobstore.Always); err != nil {
			return finding{}, err
		}
		between := m.now()
		if _, _, err := blobstore.ReadAll(ctx, s.store, key, int64(size)); err != nil {
			return finding{}, err
		}
		after := m.now()
		up, down = rate(size, between.Sub(before)), rate(size, after.Sub(between))
		if after.Sub(before) > bulkTime {
			break
		}
	}
	return finding{
		detail: fmt.Sprintf("up %s/s, down %s/s, in one request", humanize.IBytes(uint64(up)), humanize.IBytes(uint64(down))),
		values: map[string]float64{"up_bytes_per_second": up, "down_bytes_per_second": down},
	}, nil
}

func rate(size int, took time.Duration) float64 {
	return float64(size) / max(took, time.Microsecond).Seconds()
}
