package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/minio/minio-go/v7"

	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/e2e/server"
)

// finding is one element of what `understudy doctor --json` prints.
type finding struct {
	Name, Result, Detail, Promise string
	Values                        map[string]float64
}

// doctor runs `understudy doctor --json`, and gives its findings by their
// names.
func (h *host) doctor() (map[string]finding, result) {
	h.t.Helper()
	r := h.try("doctor", "--json")
	var all []finding
	if err := json.Unmarshal([]byte(r.out), &all); err != nil {
		h.t.Fatalf("%s: understudy doctor --json: %v\n%s%s", h.name, err, r.out, r.errout)
	}
	found := map[string]finding{}
	for _, f := range all {
		found[f.Name] = f
	}
	return found, r
}

// bucketName is the name in an s3:// URL.
func bucketName(t *testing.T, bucket string) string {
	t.Helper()
	u, err := url.Parse(bucket)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// through is an s3:// URL with another endpoint and more parameters.
func through(t *testing.T, bucket, endpoint string, more ...string) string {
	t.Helper()
	u, err := url.Parse(bucket)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set("endpoint", endpoint)
	for i := 0; i < len(more); i += 2 {
		query.Set(more[i], more[i+1])
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// keysBelow lists a bucket behind everybody's back.
func keysBelow(t *testing.T, m *server.MinIOServer, bucket, prefix string) []string {
	t.Helper()
	var keys []string
	for object := range m.Client(t).ListObjects(context.Background(), bucketName(t, bucket), minio.ListObjectsOptions{Prefix: prefix, Recursive: true}) {
		if object.Err != nil {
			t.Fatal(object.Err)
		}
		keys = append(keys, object.Key)
	}
	return keys
}

// bare is a cluster in a new bucket, with one host that has not begun.
func bare(t *testing.T, m *server.MinIOServer) (*cluster, *host) {
	t.Helper()
	c := newCluster(t, m.NewBucket(t), m.Env())
	return c, c.host("host-a", newPlain(t, filepath.Join(c.dir, "a")))
}

func TestStoresThatLieAreRefusedByName(t *testing.T) {
	m := server.SharedMinIO(t)
	for name, tt := range map[string]struct {
		do     func() storetest.NetAction
		breaks []string
	}{
		"stripped conditions": {
			func() storetest.NetAction {
				return storetest.StripConditions(storetest.SignS3(m.AccessKey, m.SecretKey, "us-east-1"))
			},
			[]string{"create-if-absent", "create-if-absent-contended", "compare-and-swap", "compare-and-swap-contended"},
		},
		"stale reads": {
			storetest.StaleReads,
			[]string{"read-after-write", "read-after-overwrite", "list-after-write"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, a := bare(t, m)
			proxy := storetest.NewProxy(t, "http://"+m.Address)
			lied := a.with("UNDERSTUDY_BUCKET=" + through(t, c.bucket, proxy.URL()))
			if found, r := lied.doctor(); r.code != 0 || found["bucket"].Result != "ok" {
				t.Fatalf("before it lies: exit %d, %+v\n%s", r.code, found, r.errout)
			}
			lie := func() {
				proxy.Heal()
				proxy.Inject(storetest.NetFault{Times: storetest.Forever, Do: tt.do()})
			}
			lie()
			lied.fails(4, tt.breaks[0], "init")
			if keys := keysBelow(t, m, c.bucket, ""); len(keys) > 0 {
				t.Errorf("an init that was refused left %v", keys)
			}
			a.run("init")
			before := keysBelow(t, m, c.bucket, "")

			lie()
			found, r := lied.doctor()
			if r.code != 4 || !strings.Contains(r.errout, "not be safe") {
				t.Errorf("doctor: exit %d\n%s", r.code, r.errout)
			}
			for _, promise := range tt.breaks {
				if f := found[promise]; f.Result != "failed" || f.Promise == "" || !strings.Contains(r.errout, promise) {
					t.Errorf("promise %s: %+v\n%s", promise, f, r.errout)
				}
			}
			lie()
			lied.fails(4, tt.breaks[0], "serve")
			if after := keysBelow(t, m, c.bucket, ""); !slices.Equal(after, before) {
				t.Errorf("in the bucket: %v, before: %v", after, before)
			}
		})
	}
}

func TestDoctorTellsEachPermissionThatIsMissing(t *testing.T) {
	m := server.SharedMinIO(t)
	all := []string{"s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:ListBucket"}
	for missing, tt := range map[string]struct {
		code   int
		checks map[string]string // of the missing permission, to their results
	}{
		"none":            {0, nil},
		"s3:DeleteObject": {0, map[string]string{"permission-delete": "warning"}},
		"s3:ListBucket":   {4, map[string]string{"permission-list": "failed"}},
		"s3:PutObject":    {4, map[string]string{"permission-put": "failed"}},
		"s3:GetObject":    {4, map[string]string{"permission-get": "failed", "permission-stat": "failed"}},
	} {
		t.Run("without "+missing, func(t *testing.T) {
			c, a := bare(t, m)
			name := bucketName(t, c.bucket)
			allow(t, m, name, slices.DeleteFunc(slices.Clone(all), func(action string) bool { return action == missing }))
			anyone := a.with("UNDERSTUDY_BUCKET=" + through(t, c.bucket, "http://"+m.Address, "anonymous", "true"))
			found, r := anyone.doctor()
			if r.code != tt.code {
				t.Errorf("exit %d, want %d\n%s", r.code, tt.code, r.errout)
			}
			for _, check := range []string{"permission-put", "permission-get", "permission-stat", "permission-list", "permission-delete"} {
				want := "ok"
				if result, ok := tt.checks[check]; ok {
					want = result
				}
				f := found[check]
				if f.Result != want || want != "ok" && !strings.Contains(f.Detail, missing) {
					t.Errorf("%+v, want %s", f, want)
				}
			}
		})
	}
}

// allow lets anybody do what the actions say in a bucket, and no more.
func allow(t *testing.T, m *server.MinIOServer, bucket string, actions []string) {
	t.Helper()
	policy, err := json.Marshal(map[string]any{
		"Version": "2012-10-17",
		"Statement": []any{map[string]any{
			"Effect": "Allow", "Principal": map[string]any{"AWS": []string{"*"}}, "Action": actions,
			"Resource": []string{"arn:aws:s3:::" + bucket, "arn:aws:s3:::" + bucket + "/*"},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Client(t).SetBucketPolicy(t.Context(), bucket, string(policy)); err != nil {
		t.Fatalf("allow %v: %v", actions, err)
	}
}

func TestDoctorMeasuresAndLeavesTheBucketClean(t *testing.T) {
	m := server.SharedMinIO(t)
	folder, remote := t.TempDir(), m.NewBucket(t)
	for name, bucket := range map[string]string{"s3": remote, "file": "file://" + folder} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, bucket, m.Env())
			a := c.host("host-a", newPlain(t, filepath.Join(c.dir, "a")))
			found, r := a.doctor()
			if r.code != 0 {
				t.Errorf("exit %d\n%s%s", r.code, r.out, r.errout)
			}
			for check, value := range map[string]string{
				"latency": "put_median_seconds", "throughput": "up_bytes_per_second", "clock": "skew_seconds",
			} {
				if v, ok := found[check].Values[value]; !ok || check != "clock" && v <= 0 {
					t.Errorf("%s: %+v", check, found[check])
				}
			}
			if table := a.run("doctor"); !strings.Contains(table, "read-after-overwrite") {
				t.Errorf("the table lacks a promise:\n%s", table)
			}
		})
	}
	left := keysBelow(t, m, remote, "")
	files, err := filepath.Glob(filepath.Join(folder, "[^.]*")) // the store's own lock file has a dot
	if len(left) > 0 || len(files) > 0 || err != nil {
		t.Errorf("left behind: %v, %v, %v", left, files, err)
	}
}

func TestDoctorThatIsInterruptedLeavesTheBucketClean(t *testing.T) {
	m := server.SharedMinIO(t)
	c, a := bare(t, m)
	proxy := storetest.NewProxy(t, "http://"+m.Address)
	hold, held := storetest.HoldRequest()
	proxy.Inject(storetest.NetFault{
		When: func(r *http.Request) bool {
			return r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/latency")
		},
		Do: hold,
	})
	cmd := exec.CommandContext(t.Context(), a.commands, "doctor")
	cmd.Env = append(slices.Clone(a.env), "UNDERSTUDY_BUCKET="+through(t, c.bucket, proxy.URL()))
	cmd.Stderr = os.Stderr
	exited := make(chan error, 1)
	if err := server.Start(cmd, syscall.SIGKILL, func(err error) { exited <- err }); err != nil {
		t.Fatal(err)
	}
	received(t, "a request is held", held.Arrived())
	if keys := keysBelow(t, m, c.bucket, "probe/"); len(keys) == 0 {
		t.Error("nothing was written before the interrupt")
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	err := received(t, "doctor ends", exited)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 130 {
		t.Errorf("it ended with %v", err)
	}
	if keys := keysBelow(t, m, c.bucket, ""); len(keys) > 0 {
		t.Errorf("left behind: %v", keys)
	}
}
