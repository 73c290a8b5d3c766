package conformance

import (
	"bytes"
	"context"
	"errors"
	"sync"

	"github.com/understudy-ha/understudy/blobstore"
)

// What breaks with each promise, and what to do: the end of a detail.
const (
	twoActives = "two instances could both become the active: use another store, or one that keeps conditional writes (on a store behind a proxy: let the proxy pass the headers If-None-Match and If-Match)"
	staleReads = "an active would not see in time that it was replaced: use another store, or no cache before it"
)

// safety is what a promotion rests on.
var safety = []test{
	{"create-if-absent", "a write with If-None-Match: * creates an object once, and is refused while there is one", createIfAbsent},
	{"create-if-absent-contended", "of writers that create an object at the same time, one wins", createContended},
	{"create-after-delete", "a deleted object reads as missing at once, and can be created again", createAfterDelete},
	{"compare-and-swap", "a write with If-Match is refused unless the object is the version that it names", compareAndSwap},
	{"compare-and-swap-contended", "of writers that swap the same version at the same time, one wins", swapContended},
	{"tokens", "two versions of an object have different tokens", tokens},
	{"read-after-write", "an object that was missing is read as soon as it is written", readAfterWrite},
	{"read-after-overwrite", "after an overwrite nobody reads the version before", readAfterOverwrite},
	{"list-after-write", "a list shows what was written before it began, as it is now", listAfterWrite},
	{"list-after-delete", "a list does not show what was deleted before it began", listAfterDelete},
}

const createHeader, swapHeader = "If-None-Match: * (create-if-absent)", "If-Match (compare-and-swap)"

func createIfAbsent(ctx context.Context, s *scratch) (finding, error) {
	key := s.key("created")
	first, err := s.create(ctx, key)
	if err != nil {
		return finding{}, refusedWrongly(err, "the store refuses to create an object that is missing")
	}
	err = s.refused(ctx, key, blobstore.IfAbsent(), "the store ignores "+createHeader+" and overwrites an object that is there: "+twoActives)
	if err != nil {
		return finding{}, err
	}
	if err := s.still(ctx, key, first); err != nil {
		return finding{}, err
	}
	return saw("honoured")
}

func compareAndSwap(ctx context.Context, s *scratch) (finding, error) {
	key, other := s.key("swapped"), s.key("other")
	first, err := s.create(ctx, key)
	if err != nil {
		return finding{}, err
	}
	foreign, err := s.create(ctx, other)
	if err != nil {
		return finding{}, err
	}
	second, err := s.write(ctx, key, blobstore.IfMatch(first.Token))
	if err != nil {
		return finding{}, refusedWrongly(err, "the store refuses to overwrite the version that "+swapHeader+" names")
	}
	for _, wrong := range []struct {
		key, what string
		token     blobstore.Token
	}{
		{s.key("missing"), "on a missing object", first.Token},
		{key, "and overwrites another version than the one named", first.Token},
		{key, "and overwrites the version of another object", foreign.Token},
	} {
		err := s.refused(ctx, wrong.key, blobstore.IfMatch(wrong.token), "the store ignores "+swapHeader+" "+wrong.what+": "+twoActives)
		if err != nil {
			return finding{}, err
		}
	}
	if err := s.still(ctx, key, second); err != nil {
		return finding{}, err
	}
	return saw("honoured")
}

// refusedWrongly is for a write whose condition holds.
func refusedWrongly(err error, otherwise string) error {
	if errors.Is(err, blobstore.ErrPrecondition) {
		return brokenf("%s: no promotion would ever succeed: use another store", otherwise)
	}
	return err
}

// still expects an object to be what was written last with success.
func (s *scratch) still(ctx context.Context, key string, want version) error {
	got, err := s.read(ctx, key, "")
	switch {
	case errors.Is(err, blobstore.ErrNotFound):
		return brokenf("an object is missing right after it was written: %s", staleReads)
	case err != nil:
		return err
	case !bytes.Equal(got.body, want.body) || got.Token != want.Token:
		return brokenf("a write that was refused, or none at all, has changed the object: %s", twoActives)
	}
	return nil
}

// contenders is how many write at the same moment.
const contenders = 8

func createContended(ctx context.Context, s *scratch) (finding, error) {
	return s.contend(ctx, s.key("create-contended"), blobstore.IfAbsent(), createHeader)
}

func swapContended(ctx context.Context, s *scratch) (finding, error) {
	key := s.key("swap-contended")
	first, err := s.create(ctx, key)
	if err != nil {
		return finding{}, err
	}
	return s.contend(ctx, key, blobstore.IfMatch(first.Token), swapHeader)
}

// contend lets several writers write one object under one condition, and
// expects that one of them wins and that its version stays.
func (s *scratch) contend(ctx context.Context, key string, cond blobstore.Condition, header string) (finding, error) {
	winners, err := settle(ctx, func() (int, error) { return s.race(ctx, key, cond) })
	switch {
	case err != nil:
		return finding{}, err
	case winners == 0:
		return finding{}, brokenf("the store refused %s to all of %d writers at the same time: no promotion would ever succeed: use another store", header, contenders)
	case winners > 1:
		return finding{}, brokenf("the store ignores %s: %d of %d writers at the same time were told that they won: %s", header, winners, contenders, twoActives)
	}
	return saw("one of %d writers won", contenders)
}

// race is one round of contention: how many won. What became of a write whose
// outcome is unknown is read.
func (s *scratch) race(ctx context.Context, key string, cond blobstore.Condition) (int, error) {
	errs, bodies := make([]error, contenders), make([][]byte, contenders)
	for i := range bodies {
		bodies[i] = s.body(key)
	}
	var writers sync.WaitGroup
	for i := range contenders {
		writers.Go(func() { _, errs[i] = s.put(ctx, key, bodies[i], cond) })
	}
	writers.Wait()
	now, err := s.read(ctx, key, "")
	if err != nil && !errors.Is(err, blobstore.ErrNotFound) {
		return 0, err
	}
	winners, stayed, unknown := 0, false, error(nil)
	for i, err := range errs {
		here := bytes.Equal(now.body, bodies[i])
		switch {
		case err == nil, errors.Is(err, blobstore.ErrUnknownOutcome) && here:
			winners++
			stayed = stayed || here
		case errors.Is(err, blobstore.ErrPrecondition):
		case unsettled(err):
			unknown = err
		default:
			return 0, err
		}
	}
	switch {
	case winners == 0 && unknown != nil:
		return 0, unknown // nobody who could have won was told anything
	case winners == 1 && !stayed:
		return 0, brokenf("what the winner of %d writers at the same time wrote is not what is read: %s", contenders, staleReads)
	}
	return winners, nil
}

func createAfterDelete(ctx context.Context, s *scratch) (finding, error) {
	key := s.key("created-again")
	if _, err := s.create(ctx, key); err != nil {
		return finding{}, err
	}
	if err := s.store.Delete(ctx, key); err != nil {
		return finding{}, deniedDelete(err)
	}
	switch _, err := s.read(ctx, key, ""); {
	case err == nil:
		return finding{}, brokenf("an object is still read after it was deleted: %s", staleReads)
	case !errors.Is(err, blobstore.ErrNotFound):
		return finding{}, err
	}
	if _, err := s.create(ctx, key); err != nil {
		if errors.Is(err, blobstore.ErrPrecondition) {
			return finding{}, brokenf("the store refuses to create an object that was deleted, as some do in a bucket that keeps versions: an instance that left could not join again: use another store, or a bucket without versions")
		}
		return finding{}, err
	}
	return saw("honoured")
}

// deniedDelete makes a doubt of the lack of a permission that no promotion
// needs.
func deniedDelete(err error) error {
	if errors.Is(err, blobstore.ErrDenied) {
		return doubtf("not checked: %s", withoutDelete)
	}
	return err
}

// overwrites is how often an object is overwritten and read: a cache that holds
// on to a version shows at the first, one that does so now and then needs more.
const overwrites = 4

func tokens(ctx context.Context, s *scratch) (finding, error) {
	key := s.key("tokens")
	seen := map[blobstore.Token]bool{}
	for range overwrites {
		body := s.body(key)
		attrs, err := s.put(ctx, key, body, blobstore.Always)
		switch {
		case err != nil:
			return finding{}, err
		case attrs.Token == "":
			return finding{}, brokenf("the store gives a version no token (ETag): %s", twoActives)
		case seen[attrs.Token]:
			return finding{}, brokenf("the store gives two versions of an object the same token (ETag): %s", twoActives)
		}
		seen[attrs.Token] = true
	}
	return saw("%d versions, %d tokens", overwrites, len(seen))
}
