package e2e

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/minio/minio-go/v7"

	"github.com/understudy-ha/understudy/e2e/server"
)

// way is one way to ship a server's log to a bucket.
type way interface {
	// settings are lines of the server's configuration.
	settings() []string
	// begin has the log of a running server shipped, and makes a base that it can follow.
	begin(t *testing.T, pg *server.PostgresFolder)
	// where is the bucket, and below which prefix the log is.
	where() (bucket, prefix string)
	// reaches is the position up to which an object has the log; 0 where it is no log.
	reaches(t *testing.T, key string, read func() []byte) uint64
	// agents are processes of its own, beside what the server starts.
	agents() []int
	meter() *storeMeter
}

func newWay(t *testing.T, m *server.MinIOServer, name string) way {
	t.Helper()
	base := wayBase{m: m, bucket: m.NewBucket(t)}
	switch name {
	case nothing:
		base.counts = newStoreMeter(t, m.Address, false)
		return &base
	case ourStreams:
		base.counts = newStoreMeter(t, m.Address, false)
		return &streamsWay{wayBase: base}
	case backrest, backrestSlow:
		base.counts = newStoreMeter(t, m.Address, true)
		return &backrestWay{archiveWay{wayBase: base, timeout: timeoutOf(name)}}
	case walg:
		base.counts = newStoreMeter(t, m.Address, false)
		return &walgWay{archiveWay{wayBase: base, timeout: timeoutOf(name)}}
	}
	t.Fatalf("there is no way %q", name)
	return nil
}

// timeoutOf is the archive_timeout that a name ends with, in seconds.
func timeoutOf(name string) string {
	_, text, _ := strings.Cut(name, ", ")
	return strings.TrimSuffix(text, " s")
}

// wayBase is what ways have in common; by itself it ships nothing.
type wayBase struct {
	m      *server.MinIOServer
	bucket string
	counts *storeMeter
}

func (*wayBase) settings() []string                               { return nil }
func (*wayBase) begin(*testing.T, *server.PostgresFolder)         {}
func (w *wayBase) where() (bucket, prefix string)                 { return w.bucket, "" }
func (*wayBase) reaches(*testing.T, string, func() []byte) uint64 { return 0 }
func (*wayBase) agents() []int                                    { return nil }
func (w *wayBase) meter() *storeMeter                             { return w.counts }

// streamsWay is this program.
type streamsWay struct {
	wayBase

	cluster *cluster
	a       *host
}

func (w *streamsWay) begin(t *testing.T, pg *server.PostgresFolder) {
	w.cluster = newCluster(t, through(t, w.bucket, w.counts.URL), w.m.Env())
	w.a = w.cluster.host("host-a", &serverApp{pg: pg})
	w.a.env = append(w.a.env, "UNDERSTUDY_POLL=10s", "UNDERSTUDY_LOG_LEVEL=info") // as they are by default
	w.a.run("init")
	w.a.serve()
	w.a.run("backup")
}

func (w *streamsWay) where() (bucket, prefix string) { return w.bucket, "streams/" }

func (w *streamsWay) agents() []int { return []int{w.a.agent.Process.Pid} }

// reaches reads a part's header, which is signed and not encrypted.
func (w *streamsWay) reaches(t *testing.T, key string, read func() []byte) uint64 {
	t.Helper()
	part, err := readPart(read())
	if err != nil {
		t.Errorf("%s: %v", key, err)
	}
	return part.To
}

// partHeader is what a part says of itself.
type partHeader struct{ To uint64 }

func readPart(object []byte) (part partHeader, err error) {
	const magic, before = 6, 6 + 2 + 4 // then the version, and the length of the header
	if len(object) < before {
		return part, fmt.Errorf("no part: %d bytes", len(object))
	}
	end := before + int(binary.LittleEndian.Uint32(object[magic+2:]))
	if end > len(object) {
		return part, fmt.Errorf("no part: %d bytes, and a header up to %d", len(object), end)
	}
	var signed struct{ Payload string }
	if err := json.Unmarshal(object[before:end], &signed); err != nil {
		return part, err
	}
	payload, err := base64.RawURLEncoding.DecodeString(signed.Payload)
	if err != nil {
		return part, err
	}
	return part, json.Unmarshal(payload, &part)
}

// archiveWay is an archive_command.
type archiveWay struct {
	wayBase

	timeout string
}

func (w *archiveWay) settings() []string {
	return []string{"archive_mode = on"} // the rest begins with the tool
}

// archives has the server archive, and runs the commands that make the base, as its user.
func (w *archiveWay) archives(t *testing.T, pg *server.PostgresFolder, command string, first ...[]string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), pg.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for _, sql := range []string{"ALTER SYSTEM SET archive_command = '" + command + "'", "ALTER SYSTEM SET archive_timeout = " + w.timeout, "SELECT pg_reload_conf()"} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	for _, argv := range first {
		if out, err := pg.AsOwner(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
		}
	}
}

// segmentName is a file of the log, of 16 MiB: the timeline, and its number in two halves.
var segmentName = regexp.MustCompile(`/[0-9A-F]{8}([0-9A-F]{8})([0-9A-F]{8})(-[0-9a-f]{40})?\.zst$`)

// reaches is the end of a segment: what comes after the switch to the next one is empty.
func (*archiveWay) reaches(t *testing.T, key string, _ func() []byte) uint64 {
	t.Helper()
	found := segmentName.FindStringSubmatch(key)
	if found == nil {
		return 0
	}
	high, highErr := strconv.ParseUint(found[1], 16, 32)
	low, lowErr := strconv.ParseUint(found[2], 16, 32)
	if highErr != nil || lowErr != nil {
		t.Errorf("%s: %v, %v", key, highErr, lowErr)
	}
	return high<<32 + (low+1)<<24
}

// backrestWay is pgBackRest.
type backrestWay struct{ archiveWay }

func (w *backrestWay) where() (bucket, prefix string) { return w.bucket, "repo/archive/" }

func (w *backrestWay) begin(t *testing.T, pg *server.PostgresFolder) {
	config := filepath.Join(pg.Dir, "pgbackrest.conf")
	lines := []string{
		"[global]", "repo1-type=s3", "repo1-path=/repo", "repo1-s3-bucket=" + bucketName(t, w.bucket), "repo1-s3-uri-style=path",
		"repo1-s3-endpoint=127.0.0.1", "repo1-s3-region=us-east-1", "repo1-s3-key=" + w.m.AccessKey, "repo1-s3-key-secret=" + w.m.SecretKey,
		"repo1-storage-host=127.0.0.1", "repo1-storage-port=" + w.counts.port(t), "repo1-storage-verify-tls=n",
		"repo1-cipher-type=aes-256-cbc", "repo1-cipher-pass=correct horse", "compress-type=zst", "start-fast=y", "repo1-retention-full=2",
		"lock-path=" + pg.Dir + "/lock", "spool-path=" + pg.Dir + "/spool", "log-path=" + pg.Dir, "log-level-file=off", "log-level-console=warn",
		"[main]", "pg1-path=" + pg.Data(), "pg1-socket-path=" + pg.Dir, "pg1-port=" + strconv.Itoa(pg.Port), "pg1-user=postgres",
	}
	if err := os.WriteFile(config, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	argv := []string{"pgbackrest", "--config=" + config, "--stanza=main"}
	command := strings.Join(argv, " ") + " archive-push %p"
	w.archives(t, pg, command, append(argv[:3:3], "stanza-create"), append(argv[:3:3], "backup"))
}

// walgWay is the WAL-G that the variable WALG names.
type walgWay struct{ archiveWay }

func (w *walgWay) where() (bucket, prefix string) { return w.bucket, "walg/wal_005/" }

func (w *walgWay) begin(t *testing.T, pg *server.PostgresFolder) {
	bin, config := filepath.Join(pg.Dir, "wal-g"), filepath.Join(pg.Dir, "walg.json")
	program, err := os.ReadFile(os.Getenv("WALG"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]string{
		"WALG_S3_PREFIX": "s3://" + bucketName(t, w.bucket) + "/walg", "AWS_ENDPOINT": w.counts.URL, "AWS_S3_FORCE_PATH_STYLE": "true",
		"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": w.m.AccessKey, "AWS_SECRET_ACCESS_KEY": w.m.SecretKey,
		"WALG_COMPRESSION_METHOD": "zstd", "PGHOST": pg.Dir, "PGPORT": strconv.Itoa(pg.Port), "PGUSER": "postgres", "PGDATABASE": "postgres",
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bin, program, 0o755); err != nil { // where the server's user may read it
		t.Fatal(err)
	}
	if err := os.WriteFile(config, text, 0o644); err != nil {
		t.Fatal(err)
	}
	argv := []string{bin, "--config", config}
	w.archives(t, pg, strings.Join(argv, " ")+" wal-push %p", append(argv[:3:3], "backup-push", pg.Data()))
}

// storeMeter is an HTTP proxy before a store that counts what passes.
type storeMeter struct {
	*httptest.Server
	requests, up, down atomic.Int64
}

func newStoreMeter(t *testing.T, address string, tls bool) *storeMeter {
	t.Helper()
	m := &storeMeter{}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: address})
	proxy.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo) // who has gone knows it
	proxy.ModifyResponse = func(r *http.Response) error {
		r.Body = &countedBody{r.Body, &m.down}
		return nil
	}
	m.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.requests.Add(1)
		r.Body = &countedBody{r.Body, &m.up}
		proxy.ServeHTTP(w, r)
	}))
	m.Config.ErrorLog = proxy.ErrorLog
	if tls {
		m.StartTLS()
	} else {
		m.Start()
	}
	t.Cleanup(m.Close)
	return m
}

func (m *storeMeter) port(t *testing.T) string {
	t.Helper()
	u, err := url.Parse(m.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Port()
}

func (m *storeMeter) reset() {
	m.requests.Store(0)
	m.up.Store(0)
	m.down.Store(0)
}

// read is how many requests there were, and how many bytes in each direction.
func (m *storeMeter) read() (requests, up, down int64) {
	return m.requests.Load(), m.up.Load(), m.down.Load()
}

type countedBody struct {
	io.ReadCloser
	n *atomic.Int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	return n, err
}

// effort is for how long processors have worked.
type effort struct{ server, tool time.Duration }

// spentBy measures the work of a server, without the archiver's commands, and of the tool.
func spentBy(t *testing.T, pg *server.PostgresFolder, w way) (e effort) {
	t.Helper()
	first := pg.PID(t)
	for _, pid := range pg.Processes(t) {
		own, waited, ok := ticksOf(pid)
		if !ok {
			continue // it has ended: the first process has its time
		}
		e.server += own
		title, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		switch {
		case pid == first:
			e.server += waited
		case strings.Contains(string(title), "archiver"):
			e.tool += waited
		}
	}
	for _, pid := range w.agents() {
		own, waited, _ := ticksOf(pid)
		e.tool += own + waited
	}
	return e
}

// ticksOf is how long processors have worked for a process, and for those of its children
// that it has waited for.
func ticksOf(pid int) (own, waited time.Duration, ok bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, false
	}
	const tick = 10 * time.Millisecond // of what the kernel tells of other processes
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')'):]))
	var n [4]int64
	for i := range n { // utime, stime, cutime, cstime
		if n[i], err = strconv.ParseInt(fields[12+i], 10, 64); err != nil {
			return 0, 0, false
		}
	}
	return time.Duration(n[0]+n[1]) * tick, time.Duration(n[2]+n[3]) * tick, true
}

// watched looks at what a bucket has of a log, again and again.
type watched struct {
	stop, done chan struct{}
	latest     atomic.Uint64
	all        []seenPosition // read after done
}

// seenPosition is how far the log in the bucket reached at a moment.
type seenPosition struct {
	at time.Time
	to uint64
}

const watchEvery = 50 * time.Millisecond

func watch(t *testing.T, m *server.MinIOServer, w way) *watched {
	t.Helper()
	s := &watched{stop: make(chan struct{}), done: make(chan struct{})}
	bucket, prefix := w.where()
	name, store := bucketName(t, bucket), m.Client(t)
	go func() {
		defer close(s.done)
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		var last string
		var to uint64
		for {
			for object := range store.ListObjects(t.Context(), name, minio.ListObjectsOptions{Prefix: prefix, Recursive: true, StartAfter: last}) {
				if object.Err != nil {
					t.Errorf("list the bucket: %v", object.Err)
					return
				}
				if has := w.reaches(t, object.Key, func() []byte { return readObject(t, store, name, object.Key) }); has > 0 {
					last, to = object.Key, max(to, has) // others, as archive.info, may come behind the log
				}
			}
			s.latest.Store(to)
			s.all = append(s.all, seenPosition{time.Now(), to})
			select {
			case <-tick.C:
			case <-s.stop:
				return
			}
		}
	}()
	return s
}

func readObject(t *testing.T, store *minio.Client, bucket, key string) []byte {
	t.Helper()
	object, err := store.GetObject(t.Context(), bucket, key, minio.GetObjectOptions{})
	if err != nil {
		t.Errorf("read %s: %v", key, err)
		return nil
	}
	defer object.Close()
	text, err := io.ReadAll(object)
	if err != nil {
		t.Errorf("read %s: %v", key, err)
	}
	return text
}

// isShipped waits until rows that were written since arrive, or some have been written.
func (s *watched) isShipped(t *testing.T, written func() uint64, name string) {
	t.Helper()
	var from uint64
	eventually(t, "rows are written", func() error {
		if from = written(); from == 0 {
			return fmt.Errorf("none is")
		}
		return nil
	})
	eventually(t, "they are shipped", func() error {
		if to := s.latest.Load(); name != nothing && to < from {
			return fmt.Errorf("the log in the bucket reaches %X, the row is at %X", to, from)
		}
		return nil
	})
}

// end stops looking, and returns what was seen.
func (s *watched) end() []seenPosition {
	close(s.stop)
	<-s.done
	return s.all
}
