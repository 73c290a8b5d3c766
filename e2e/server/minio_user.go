package server

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const minioAdminBinary = "e2e/tools/bin/minio-admin"

// SetUser gives the server a user with a policy, or a user that it has another
// policy, and returns the environment variables with the user's credentials.
func (m *MinIOServer) SetUser(tb testing.TB, name, policy string) []string {
	tb.Helper()
	binary, err := findTool(minioAdminBinary)
	if err != nil {
		tb.Fatal(err)
	}
	file := filepath.Join(tb.TempDir(), "policy.json")
	if err := os.WriteFile(file, []byte(policy), 0o600); err != nil {
		tb.Fatal(err)
	}
	secret := "secret-of-" + name
	cmd := exec.CommandContext(tb.Context(), binary, m.Address, name, secret, file)
	cmd.Env = []string{"HOME=" + tb.TempDir(), "MINIO_ROOT_USER=" + m.AccessKey, "MINIO_ROOT_PASSWORD=" + m.SecretKey}
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("set user %s: %v: %s", name, err, strings.TrimSpace(string(out)))
	}
	return []string{"AWS_ACCESS_KEY_ID=" + name, "AWS_SECRET_ACCESS_KEY=" + secret}
}
