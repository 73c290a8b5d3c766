package agentclient

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
)

func TestTrustNeedsACertificate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Trusted(file); !errors.Is(err, exit.ErrUsage) || !strings.Contains(err.Error(), "PEM") {
		t.Errorf("error %v", err)
	}
}
