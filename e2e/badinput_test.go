package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha/report"
)

// plain is an application of one folder and no process.
type plain struct{ *sample }

func (p plain) config() string { return p.sources() + idleHooks }

func (p plain) sources() string {
	return "sources:\n  - {name: files, directory: {path: " + p.dir + "}}\n"
}

// idleHooks are those of an application that is no process: it is stopped as soon as
// that is asked for.
const idleHooks = "hooks: {promote: ['true'], demote: ['true']}\n"

func (p plain) stop(*testing.T) {}

func newPlain(t *testing.T, dir string) plain {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte(strings.Repeat("some content\n", 1000)), 0o644); err != nil {
		t.Fatal(err)
	}
	return plain{&sample{dir: dir}}
}

// pair is a cluster on a folder with an active that serves, and a standby that
// has joined and does not serve yet.
type pair struct {
	*cluster
	bucket string
	a, b   *host
	newest backup.Ref
}

func newPair(t *testing.T) *pair {
	t.Helper()
	dir := t.TempDir()
	c := newCluster(t, "file://"+dir, nil)
	p := &pair{cluster: c, bucket: dir}
	p.a = c.host("host-a", newPlain(t, filepath.Join(c.dir, "a")))
	p.b = c.host("host-b", newPlain(t, filepath.Join(c.dir, "b")))
	p.a.run("init")
	p.a.serve()
	p.b.run("join")
	p.newest = query[backup.Ref](p.a, "backup")
	return p
}

// snapshot lists what is in the bucket, without the records that instances
// write of themselves and the head's heartbeat.
func (p *pair) snapshot() map[string]string {
	p.t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(p.bucket, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(p.bucket, path)
		if strings.HasPrefix(rel, "instances/") || strings.HasPrefix(rel, ".") || rel == "head.json" {
			return nil
		}
		b, err := os.ReadFile(path)
		files[rel] = string(b)
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return files
}

func sameFiles(t *testing.T, before, after map[string]string) {
	t.Helper()
	for name, content := range before {
		if after[name] != content {
			t.Errorf("%s in the bucket changed", name)
		}
	}
	for name := range after {
		if _, ok := before[name]; !ok {
			t.Errorf("%s appeared in the bucket", name)
		}
	}
}

// fails checks that a command fails with a code and one line that has the
// words.
func (h *host) fails(code int, words string, args ...string) {
	h.t.Helper()
	r := h.try(args...)
	if r.code != code || !strings.Contains(r.errout, words) {
		h.t.Fatalf("%s: understudy %s: exit %d, want %d and %q:\n%s%s", h.name, strings.Join(args, " "), r.code, code, words, r.out, r.errout)
	}
}

// with runs a host under another environment.
func (h *host) with(vars ...string) *host {
	other := *h
	other.env = append(append([]string{}, h.env...), vars...)
	return &other
}

func TestBadInputChangesNothing(t *testing.T) {
	p := newPair(t)
	p.b.serve()
	p.b.caches(p.newest.ID)
	other := newPair(t)
	before := p.snapshot()
	epoch := p.a.status().Epoch

	c := p.host("host-c", newPlain(t, filepath.Join(p.dir, "c")))
	for _, test := range []struct {
		name  string
		host  *host
		code  int
		words string
		args  []string
	}{
		{"a wrong key", c.with("UNDERSTUDY_KEY_FILE=" + other.key), 4, "key", []string{"join"}},
		{"a mistyped key", c.with("UNDERSTUDY_KEY_FILE=" + p.mistyped()), 4, "mistyped", []string{"join"}},
		{"init where a cluster is", c, 3, "join", []string{"init"}},
		{"a name in use", c.with("UNDERSTUDY_INSTANCE=host-b"), 3, "in use", []string{"join"}},
		{"an unknown configuration key", c.with("UNDERSTUDY_CONFIG=" + p.unknownKey()), 2, "line 2", []string{"join"}},
		{"a frequency under a minute", p.a, 2, "once a minute", []string{"config", "set", "frequency", "59s"}},
		{"an unknown setting", p.a, 2, "frequenzy", []string{"config", "set", "frequenzy", "5m"}},
		{"a ttl under three polls", p.a, 2, "three polls", []string{"config", "set", "ttl", "5s"}},
		{"a setting changed on a standby", p.b, 3, "host-a", []string{"config", "set", "frequency", "10m"}},
		{"a backup on a standby", p.b, 3, "host-a", []string{"backup"}},
		{"a promotion of the active", p.a, 3, "active already", []string{"promote", "--yes"}},
		{"a promotion without a yes", p.b, 2, "--yes", []string{"promote"}},
		{"a backup that does not exist", p.b, 1, "no backup", []string{"promote", "20200101T000000Z-e00000001-s00000009-abcdef", "--yes"}},
		{"a restore of a backup that does not exist", p.b, 1, "no backup", []string{"restore", "20200101T000000Z-e00000001-s00000009-abcdef", "--to", p.dir + "/nowhere"}},
		{"a restore over something", p.b, 1, "not empty", []string{"restore", p.newest.ID, "--to", p.dir + "/a"}},
		{"an unknown scheme", c.with("UNDERSTUDY_BUCKET=ftp://host/path"), 2, "ftp", []string{"join"}},
		{"no bucket", c.with("UNDERSTUDY_BUCKET="), 2, "UNDERSTUDY_BUCKET", []string{"join"}},
		{"an empty bucket", c.with("UNDERSTUDY_BUCKET=file://" + t.TempDir()), 4, "init", []string{"join"}},
		{"an unknown command", c, 2, "unknown command", []string{"promotte"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := *test.host
			h.t = t
			h.fails(test.code, test.words, test.args...)
		})
	}
	sameFiles(t, before, p.snapshot())
	if s := p.a.status(); s.Epoch != epoch || !s.Healthy {
		t.Errorf("afterwards: epoch %d, problems %q", s.Epoch, s.Problems)
	}
}

// mistyped is a key file with one character changed.
func (p *pair) mistyped() string {
	p.t.Helper()
	text, err := os.ReadFile(p.key)
	if err != nil {
		p.t.Fatal(err)
	}
	line := []byte(strings.TrimSpace(string(text)))
	i := len(line) / 2
	if line[i] == 'a' {
		line[i] = 'b'
	} else {
		line[i] = 'a'
	}
	return p.write("mistyped", string(line)+"\n")
}

func (p *pair) unknownKey() string {
	return p.write("unknown.yaml", "sources:\n  - {name: files, directory: {path: /tmp, exclud: []}}\n")
}

func (p *pair) write(name, text string) string {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return path
}

// TestDamagedBackupsDoNotCountAsCached damages each part of a backup in the
// bucket before the standby pulls it.
func TestDamagedBackupsDoNotCountAsCached(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, p *pair){
		"a tampered manifest": func(t *testing.T, p *pair) {
			edit(t, filepath.Join(p.bucket, p.newest.Key), func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		},
		"a truncated pack": func(t *testing.T, p *pair) {
			edit(t, p.anyPack(), func(b []byte) []byte { return b[:len(b)-1] })
		},
		"a tampered pack": func(t *testing.T, p *pair) {
			edit(t, p.anyPack(), func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		},
		"a missing pack": func(t *testing.T, p *pair) {
			if err := os.Remove(p.anyPack()); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			damage(t, p)
			p.b.serve()
			p.b.eventually("says that the backup is damaged", func() error {
				s := p.b.status()
				if len(s.Cached) > 0 {
					t.Fatalf("%v counts as cached", s.Cached)
				}
				if s.PullError == "" || s.Healthy {
					return errors.New("no error yet")
				}
				return nil
			})
			p.b.fails(1, "", "verify", p.newest.ID, "--deep")
			if r := p.b.try("promote", "--failover", "--yes"); r.code == 0 {
				t.Fatal("a damaged backup was promoted")
			}
			if s := p.a.status(); s.Epoch != 1 || !s.Leading {
				t.Fatalf("the active was disturbed: %+v", s)
			}
		})
	}
}

func edit(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

// anyPack is a pack that holds data.
func (p *pair) anyPack() string {
	p.t.Helper()
	found, largest := "", int64(0)
	err := filepath.WalkDir(filepath.Join(p.bucket, "packs"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() > largest {
			found, largest = path, info.Size()
		}
		return err
	})
	if err != nil || found == "" {
		p.t.Fatalf("no pack in the bucket: %v", err)
	}
	return found
}

// TestCopiedDataFolderDoesNotLead starts an active on a copy of its data
// folder while the original goes on, and on an old copy.
func TestCopiedDataFolderDoesNotLead(t *testing.T) {
	p := newPair(t)
	copied := filepath.Join(p.dir, "copy")
	if out, err := output("cp", "-a", p.a.path("data"), copied); err != nil {
		t.Fatalf("copy the data folder: %v\n%s", err, out)
	}
	rev := p.a.status().Head.Rev
	p.a.eventually("writes the head once more", func() error {
		if p.a.status().Head.Rev == rev {
			return errors.New("not yet")
		}
		return nil
	})
	clone := p.host("clone", newPlain(t, filepath.Join(p.dir, "clone-app")))
	clone.env = append(clone.env, "UNDERSTUDY_INSTANCE=host-a", "UNDERSTUDY_DATA_DIR="+copied)
	clone.serve()
	clone.eventually("says that it is a copy", func() error {
		s := clone.status()
		if s.Leading || s.App == "running" {
			t.Fatalf("the copy leads: %+v", s)
		}
		if !strings.Contains(s.Refused, "copied") || s.Healthy {
			return fmt.Errorf("refused %q, problems %q", s.Refused, s.Problems)
		}
		return nil
	})
	clone.fails(3, "not the active", "backup")
	if s := p.a.status(); !s.Leading || s.Epoch != 1 {
		t.Fatalf("the original: %+v", s)
	}
}

// TestHeadThatIsGone checks that nobody makes a new cluster of an old bucket.
func TestHeadThatIsGone(t *testing.T) {
	p := newPair(t)
	p.a.stopAgent()
	if err := os.Remove(filepath.Join(p.bucket, "head.json")); err != nil {
		t.Fatal(err)
	}
	before := p.snapshot()
	c := p.host("host-c", newPlain(t, filepath.Join(p.dir, "c")))
	c.fails(4, "head.json", "init")
	c.fails(4, "head.json", "join")
	p.a.launch()
	p.a.eventually("says that the head is gone", func() error {
		select {
		case <-p.a.exited:
			return nil // it may refuse to start as well
		default:
		}
		r := p.a.try("status", "--json")
		if !strings.Contains(r.out, "head.json") {
			return errors.New(r.out + r.errout)
		}
		return nil
	})
	if _, err := os.Stat(filepath.Join(p.bucket, "head.json")); err == nil {
		t.Fatal("the head was made anew")
	}
	sameFiles(t, before, p.snapshot())
}

// TestTwoPromotionsAtOnce has both standbys promoted at the same time.
func TestTwoPromotionsAtOnce(t *testing.T) {
	p := newPair(t)
	c := p.host("host-c", newPlain(t, filepath.Join(p.dir, "c")))
	c.run("join")
	for _, h := range []*host{p.b, c} {
		h.serve()
		h.caches(p.newest.ID)
	}
	var promotions []<-chan result
	for _, h := range []*host{p.b, c} {
		promotions = append(promotions, h.background("promote", "--failover", "--yes", "--json"))
	}
	won := 0
	for _, promotion := range promotions {
		switch r := received(t, "a promotion ends", promotion); r.code {
		case 0:
			won++
		case 3:
		default:
			t.Errorf("exit %d\n%s%s", r.code, r.out, r.errout)
		}
	}
	if won == 0 {
		t.Fatal("no promotion won")
	}
	p.b.eventually("sees the last winner's epoch", func() error {
		if epoch := p.b.status().Head.Epoch; epoch != uint64(1+won) {
			return fmt.Errorf("%d promotions won, and the epoch is %d", won, epoch)
		}
		return nil
	})
	s := p.b.status()
	for _, h := range []*host{p.a, p.b, c} {
		if h.name != s.Head.Active.Name {
			h.is(report.StateInSync)
		}
	}
}
