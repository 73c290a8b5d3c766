package server

import (
	"context"
	"errors"
	"io"
	"net/url"
	"strings"
	"sync"
	"testing"

	"cloud.google.com/go/storage"
)

// gcsBucket makes a bucket and returns it as its client sees it.
func gcsBucket(t *testing.T, g *GCSServer) *storage.BucketHandle {
	t.Helper()
	u, err := url.Parse(g.NewBucket(t))
	if err != nil {
		t.Fatal(err)
	}
	return g.Client(t).Bucket(u.Host)
}

func writeObject(ctx context.Context, object *storage.ObjectHandle, body string) error {
	w := object.NewWriter(ctx)
	if _, err := io.WriteString(w, body); err != nil {
		return err
	}
	return w.Close()
}

func TestGCSKeepsDataAndAddressAcrossRestart(t *testing.T) {
	g := GCS(t)
	bucket := gcsBucket(t, g)
	if err := writeObject(t.Context(), bucket.Object("some/object"), "kept"); err != nil {
		t.Fatal(err)
	}
	g.Stop(t)
	if answers(t, g.Address) {
		t.Error("a stopped server still answers")
	}
	g.Start(t)
	r, err := bucket.Object("some/object").NewReader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if body, err := io.ReadAll(r); err != nil || string(body) != "kept" {
		t.Errorf("read %q, %v", body, err)
	}
}

func TestSharedGCSIsOneServer(t *testing.T) {
	a, b := SharedGCS(t), SharedGCS(t)
	if a != b {
		t.Error("two servers")
	}
	if a.NewBucket(t) == b.NewBucket(t) {
		t.Error("one bucket for two tests")
	}
}

func TestGCSForgetsWhatWasDeleted(t *testing.T) {
	bucket := gcsBucket(t, SharedGCS(t))
	for _, name := range []string{"a/b/c", "d/e/f", "d/g"} {
		if err := writeObject(t.Context(), bucket.Object(name), name); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a/b/c", "d/e/f"} {
		if err := bucket.Object(name).Delete(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := bucket.Object("d/g/not").Delete(t.Context()); !errors.Is(err, storage.ErrObjectNotExist) {
		t.Errorf("delete what was never there: %v", err)
	}
	for _, name := range []string{"a", "d/e"} {
		if err := writeObject(t.Context(), bucket.Object(name), name); err != nil {
			t.Errorf("write where a folder was: %v", err)
		}
	}
	if _, err := bucket.Object("d/g").Attrs(t.Context()); err != nil {
		t.Errorf("what was not deleted: %v", err)
	}
}

func TestGCSReadersSeeOneVersion(t *testing.T) {
	object := gcsBucket(t, SharedGCS(t)).Object("k")
	bodies := map[string]bool{}
	for n := range 50 {
		bodies[strings.Repeat(string(rune('a'+n%20)), n*1000)] = true
	}
	if err := writeObject(t.Context(), object, ""); err != nil {
		t.Fatal(err)
	}
	var writer sync.WaitGroup
	done := make(chan struct{})
	writer.Go(func() {
		defer close(done)
		for body := range bodies {
			if err := writeObject(t.Context(), object, body); err != nil {
				t.Error(err)
			}
		}
	})
	defer writer.Wait()
	for {
		select {
		case <-done:
			return
		default:
		}
		r, err := object.NewReader(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil || !bodies[string(body)] {
			t.Errorf("read %d bytes, %v; no version is so", len(body), err)
		}
		_ = r.Close() // read to its end
	}
}

func TestVersionedGCSKeepsVersions(t *testing.T) {
	bucket := gcsBucket(t, VersionedGCS(t))
	var first int64
	for _, body := range []string{"one", "two"} {
		if err := writeObject(t.Context(), bucket.Object("k"), body); err != nil {
			t.Fatal(err)
		}
		attrs, err := bucket.Object("k").Attrs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if first == 0 {
			first = attrs.Generation
		}
	}
	if _, err := bucket.Object("k").Generation(first).Attrs(t.Context()); err != nil {
		t.Errorf("the first version: %v", err)
	}
}
