package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// TestAWatcherSeesEveryChange: once each, and that nothing is known any more.
func TestAWatcherSeesEveryChange(t *testing.T) {
	var looks atomic.Int32
	script := []string{"standby", "standby", "active", "", "active", "", "", "", "", "standby"}
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		role := script[min(int(looks.Add(1)), len(script))-1]
		if role == "" {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		status := http.StatusServiceUnavailable
		if role == "active" {
			status = http.StatusOK
		}
		answer(w, status, "application/json", fmt.Sprintf(`{"leading":%t,"role":%q,"epoch":1}`, role == "active", role))
	})
	enough := errors.New("enough")
	var got []string
	err := c.Watch(t.Context(), time.Millisecond, func(l Leader) error {
		if got = append(got, l.Role); len(got) == 4 {
			return enough
		}
		return nil
	})
	if want := []string{"standby", "active", "", "standby"}; !errors.Is(err, enough) || !slices.Equal(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}

func TestAWatchEndsWithItsContext(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, "application/json", `{"leading":true,"role":"active","epoch":1}`)
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := c.Watch(ctx, 0, func(Leader) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestPatience: an agent that is being restarted is waited for, a refusal is an
// answer.
func TestPatience(t *testing.T) {
	var asked atomic.Int32
	answers := []func(http.ResponseWriter){
		func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) },
		func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, // the connection breaks
		func(w http.ResponseWriter) {
			answer(w, http.StatusOK, "application/json", `{"state":"published","id":"b8"}`)
		},
		func(w http.ResponseWriter) {
			answer(w, http.StatusConflict, "application/problem+json", `{"status":409,"detail":"not the active"}`)
		},
		func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) },
	}
	handler := func(w http.ResponseWriter, _ *http.Request) {
		answers[min(int(asked.Add(1)), len(answers))-1](w)
	}
	c := serve(t, handler, WithPatience(time.Minute))
	if b, err := c.BackupAndWait(t.Context(), ""); err != nil || b.ID != "b8" || asked.Load() != 3 {
		t.Errorf("%+v, %v after %d attempts", b, err, asked.Load())
	}
	if err := c.Backup(t.Context(), ""); !Refused(err) || asked.Load() != 4 {
		t.Errorf("%v after %d attempts", err, asked.Load())
	}
	c.patience = 250 * time.Millisecond
	var p *Problem
	if err := c.Backup(t.Context(), ""); !errors.As(err, &p) || p.Status != http.StatusServiceUnavailable || asked.Load() < 6 {
		t.Errorf("%v after %d attempts", err, asked.Load())
	}
	before := asked.Load()
	c.patience = 0
	if err := c.Backup(t.Context(), ""); err == nil || asked.Load() != before+1 {
		t.Errorf("without patience: %v after %d attempts", err, asked.Load()-before)
	}
}
