package backups

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/ha/control"
)

// fakeIDs are the ids of a chain, newest first.
func fakeIDs(ids ...string) IDs {
	return IDs{
		with: func(_ context.Context, prefix string) (found []string, err error) {
			for _, id := range ids {
				if strings.HasPrefix(id, prefix) {
					found = append(found, id)
				}
			}
			return found, nil
		},
		back: func(_ context.Context, n int) (string, error) {
			if n >= len(ids) {
				return "", tooFarBack(n, len(ids))
			}
			return ids[n], nil
		},
	}
}

func TestABackupIsNamedByTheBeginningOfItsID(t *testing.T) {
	const third, second, first = "20260302T120000Z-e00000001-s00000003-a0000003", "20260301T130000Z-e00000001-s00000002-a0000002", "20260301T120000Z-e00000001-s00000001-a0000001"
	ids := fakeIDs(third, second, first)
	for text, want := range map[string]string{
		"": "", "latest": "", "latest~0": "", "latest~1": second, "latest~2": first,
		"20260302": third, "20260301T13": second, first: first, second[:len(second)-1]: second,
		"20990101T120000Z-e00000001-s00000001-a0000001": "20990101T120000Z-e00000001-s00000001-a0000001", // who reads it says that there is none
	} {
		if got, err := ids.Resolve(t.Context(), text); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]struct {
		code  int
		words string
	}{
		"latest~3": {exit.Failed, "has 3"}, "latest~x": {exit.Usage, "latest~1"}, "latest~-1": {exit.Usage, "latest~1"},
		"2025": {exit.Failed, "no backup"}, "nope": {exit.Failed, "no backup"}, "2": {exit.Usage, third},
		"20260301": {exit.Usage, "2 backups: write more of it\n  " + second + "\n  " + first},
	} {
		if got, err := ids.Resolve(t.Context(), text); err == nil || exit.Code(t.Context(), err) != want.code || !strings.Contains(err.Error(), want.words) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

// What a promotion cut off is not in the chain; pages are turned.
func TestGoingBackFollowsTheChain(t *testing.T) {
	list := func(_ context.Context, before string, _ int) (control.BackupList, error) {
		info := func(id string) control.BackupInfo { return control.BackupInfo{Ref: backup.Ref{ID: id}} }
		if before == "" {
			cut, kept := info("c"), info("d")
			cut.Superseded, kept.Salvage = true, true
			return control.BackupList{Backups: []control.BackupInfo{info("e"), kept, cut}, Next: "c"}, nil
		}
		return control.BackupList{Backups: []control.BackupInfo{info("b"), info("a")}}, nil
	}
	for n, want := range []string{"e", "b", "a"} {
		if got, err := goBack(t.Context(), n, list); err != nil || got != want {
			t.Errorf("%d back: %q, %v, want %q", n, got, err, want)
		}
	}
	if _, err := goBack(t.Context(), 3, list); err == nil || !strings.Contains(err.Error(), "has 3") {
		t.Errorf("beyond the end: %v", err)
	}
}

// TestStoredIDsAreListedByTheirKeys: salvage backups too, and nothing is read.
func TestStoredIDsAreListedByTheirKeys(t *testing.T) {
	m := storetest.NewMemory()
	ref, err := backup.ParseID("20260301T120000Z-e00000001-s00000001-a0000001")
	if err != nil {
		t.Fatal(err)
	}
	other, err := backup.ParseID("20260302T120000Z-e00000001-s00000001-a0000002")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{ref.Key, other.Salvaged().Key, "backups/2026-03-01/other.txt"} {
		if _, err := m.Put(t.Context(), key, nil, blobstore.Always); err != nil {
			t.Fatal(err)
		}
	}
	for prefix, want := range map[string][]string{"2026": {ref.ID, other.ID}, "20260301": {ref.ID}, "20260302T12": {other.ID}, "20260303": nil} {
		got, err := storedWith(t.Context(), m, prefix)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v; want %q", prefix, got, err, want)
		}
	}
}
