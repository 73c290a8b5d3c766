package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/environ"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
)

func TestHooksDoNotSeeSecrets(t *testing.T) {
	got := environ.WithoutSecrets([]string{"PATH=/bin", "UNDERSTUDY_KEY=k", "UNDERSTUDY_KEY_FILE=/k", "UNDERSTUDY_ADMIN_TOKEN=t"})
	if strings.Join(got, " ") != "PATH=/bin UNDERSTUDY_KEY_FILE=/k" {
		t.Errorf("environment %q", got)
	}
}

func TestMissingConfigAndBucketAreReportedTogether(t *testing.T) {
	_, stderr, code := understudy(t, nil, "init", "--config", filepath.Join(t.TempDir(), "none.yaml"))
	if code != exit.Usage || !strings.Contains(stderr, "UNDERSTUDY_BUCKET") || !strings.Contains(stderr, "UNDERSTUDY_CONFIG") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}
