package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/e2e/server"
)

const (
	packagingDir = "../cmd/understudy/packaging/"
	dockerfile   = packagingDir + "Dockerfile"
)

// stockImages are the images of others that the compose file names, by the part of
// their names that says what they are. No registry of images is asked: they are made
// of this machine's programs.
var stockImages = map[string]func(t *testing.T, d *server.DockerEngine, name string){
	"quay.io/minio/minio": func(t *testing.T, d *server.DockerEngine, name string) {
		r := server.NewRoot(t)
		r.Program(server.Tool(t, "minio"), "usr/bin/minio")
		r.Program(server.Tool(t, "mc"), "usr/bin/mc")
		r.Program("curl", "usr/bin/curl")
		d.Import(t, r.Dir, name, `ENTRYPOINT ["minio"]`)
	},
	"postgres": func(t *testing.T, d *server.DockerEngine, name string) {
		r := server.NewRoot(t)
		r.PostgresServer()
		d.Import(t, r.Dir, name, "ENV PGDATA=/var/lib/postgresql/data", "VOLUME /var/lib/postgresql/data", `ENTRYPOINT ["/entrypoint"]`)
	},
	"prom/prometheus": func(t *testing.T, d *server.DockerEngine, name string) {
		r := server.NewRoot(t)
		r.Program(server.Tool(t, "prometheus"), "bin/prometheus")
		d.Import(t, r.Dir, name, "VOLUME /prometheus", "WORKDIR /prometheus",
			`ENTRYPOINT ["/bin/prometheus"]`, `CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]`)
	},
}

// makeImages makes every image that the compose file names.
func makeImages(t *testing.T, d *server.DockerEngine) {
	t.Helper()
	made := map[string]bool{}
	for name := range strings.FieldsSeq(d.Compose(t, "--profile", "*", "config", "--images")) {
		if made[name] {
			continue
		}
		made[name] = true
		repository, _, _ := strings.Cut(name, ":")
		if repository == "understudy-sample" {
			buildSample(t, d, name)
			continue
		}
		stock := stockImages[repository]
		if stock == nil {
			t.Fatalf("the compose file names image %s, which no test can make", name)
		}
		stock(t, d, name)
	}
}

// buildSample builds the image of the Dockerfile's last stage.
func buildSample(t *testing.T, d *server.DockerEngine, name string) {
	t.Helper()
	text, base := dockerfileWithoutRegistry(t)
	r := server.NewRoot(t)
	r.PostgresClients()
	r.Program("docker-init", "sbin/tini") // which it is
	d.Import(t, r.Dir, base, "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	context := t.TempDir()
	for path, content := range map[string]string{
		"Dockerfile": text, "out/understudy": shippedBin(), "out/sample": shippedSampleBin(),
		"cmd/understudy/packaging": packagingDir,
	} {
		path = filepath.Join(context, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch {
		case content == text:
			err = os.WriteFile(path, []byte(text), 0o644)
		case strings.HasSuffix(content, "/"):
			err = os.CopyFS(path, os.DirFS(content))
		default:
			err = os.Link(content, path)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	d.Docker(t, "build", "--tag", name, context)
}

// dockerfileWithoutRegistry is the Dockerfile without what needs the world: the
// programs are built already, and the base has the packages. Every other line of its
// stages is as it is shipped.
func dockerfileWithoutRegistry(t *testing.T) (text, base string) {
	t.Helper()
	shipped, err := os.ReadFile(dockerfile)
	if err != nil {
		t.Fatal(err)
	}
	agent := regexp.MustCompile(`(?m)^FROM (\S+) AS agent\n`).FindStringSubmatchIndex(string(shipped))
	if agent == nil {
		t.Fatal("the Dockerfile has no stage agent")
	}
	text, base = string(shipped[agent[0]:]), string(shipped[agent[2]:agent[3]])
	packages := regexp.MustCompile(`(?m)^RUN apk add --no-cache (.*)\n`)
	if m := packages.FindStringSubmatch(text); m == nil || m[1] != "ca-certificates tzdata tini postgresql17-client" {
		t.Fatalf("the image installs %q: the test's base has other packages", m)
	}
	text = packages.ReplaceAllString(text, "")
	return strings.ReplaceAll(text, "COPY --from=build /out/", "COPY out/"), base
}
