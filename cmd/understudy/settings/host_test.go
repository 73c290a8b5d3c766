package settings

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
)

func settingsOf(t *testing.T, env map[string]string, args ...string) (*Host, error) {
	t.Helper()
	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	Register(f)
	if err := f.Parse(args); err != nil {
		t.Fatal(err)
	}
	return Read(f, func(name string) (string, bool) { v, ok := env[name]; return v, ok }, nil)
}

func TestSettingsTakeFlagThenVariableThenDefault(t *testing.T) {
	s, err := settingsOf(t, map[string]string{
		"UNDERSTUDY_POLL":   "3s",
		"UNDERSTUDY_LISTEN": ":9000",
		"UNDERSTUDY_URL":    "",
	}, "--poll=1s", "--upload-limit=10MiB")
	if err != nil {
		t.Fatal(err)
	}
	if s.Poll != time.Second || s.Listen != ":9000" || s.DataDir != "/var/lib/understudy" || s.UploadLimit != 10<<20 || s.LogLevel != slog.LevelInfo {
		t.Errorf("settings %+v", s)
	}
}

func TestEveryVariableButTheSecretsHasAFlag(t *testing.T) {
	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	Register(f)
	for _, name := range []string{
		"BUCKET", "KEY_FILE", "INSTANCE", "URL", "LISTEN", "TLS_CERT", "TLS_KEY", "TLS_CA", "TRUSTED_PROXIES", "ADMIN_TOKEN_FILE", "ENVIRONMENT_FILE",
		"DATA_DIR", "CONFIG", "POLL", "UPLOAD_LIMIT", "DOWNLOAD_LIMIT", "LOG_LEVEL", "LOG_FORMAT",
	} {
		if f.Lookup(strings.ReplaceAll(strings.ToLower(name), "_", "-")) == nil {
			t.Errorf("UNDERSTUDY_%s has no flag", name)
		}
	}
	for _, name := range []string{"key", "admin-token"} {
		if f.Lookup(name) != nil {
			t.Errorf("the secret --%s has a flag, so it shows in process lists", name)
		}
	}
}

func TestMistakenSettingsAreNamed(t *testing.T) {
	tests := map[string]struct {
		env  map[string]string
		args []string
		want string
	}{
		"bucket without scheme": {args: []string{"--bucket=backups"}, want: "--bucket: is not a URL"},
		"instance name":         {env: map[string]string{"UNDERSTUDY_INSTANCE": "a/b"}, want: "UNDERSTUDY_INSTANCE: \"a/b\" is no instance name"},
		"url without scheme":    {env: map[string]string{"UNDERSTUDY_URL": "host-a:7878"}, want: "UNDERSTUDY_URL: is not a URL with its scheme"},
		"url with a secret":     {env: map[string]string{"UNDERSTUDY_URL": "https://u:p@host"}, want: "no more than scheme"},
		"listen":                {args: []string{"--listen=7878"}, want: "--listen: \"7878\" is not host:port"},
		"proxies":               {args: []string{"--trusted-proxies=127.0.0.1,nginx"}, want: "--trusted-proxies: \"nginx\" is no address"},
		"poll":                  {args: []string{"--poll=5"}, want: "--poll: \"5\" is not a duration"},
		"short poll":            {args: []string{"--poll=1ms"}, want: "too short"},
		"limit":                 {args: []string{"--download-limit=fast"}, want: "--download-limit"},
		"log level":             {env: map[string]string{"UNDERSTUDY_LOG_LEVEL": "loud"}, want: "UNDERSTUDY_LOG_LEVEL"},
		"log format":            {args: []string{"--log-format=xml"}, want: "neither text nor json"},
		"half of TLS":           {args: []string{"--tls-cert=/x"}, want: "both a certificate"},
		"two keys":              {env: map[string]string{"UNDERSTUDY_KEY": "k", "UNDERSTUDY_KEY_FILE": "/k"}, want: "set one"},
		"two tokens":            {env: map[string]string{"UNDERSTUDY_ADMIN_TOKEN": "t", "UNDERSTUDY_ADMIN_TOKEN_FILE": "/t"}, want: "set one"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := settingsOf(t, tt.env, tt.args...)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !errors.Is(err, exit.ErrUsage) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestNoPrintOfSettingsShowsASecret(t *testing.T) {
	s, err := settingsOf(t, map[string]string{"UNDERSTUDY_KEY": "s3cret", "UNDERSTUDY_ADMIN_TOKEN": "s3cret"})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("settings", "settings", s, "key", s.Key)
	for _, shown := range []string{fmt.Sprint(s), fmt.Sprintf("%+v", s), fmt.Sprintf("%#v", s), string(text), log.String()} {
		if strings.Contains(shown, "s3cret") {
			t.Errorf("shows the secret: %s", shown)
		}
	}
}

func TestInstanceIsNamedAfterItsHost(t *testing.T) {
	s := &Host{Instance: "host-a"}
	if err := s.NeedInstance(); err != nil || s.Instance != "host-a" {
		t.Errorf("a name that is set was changed to %q: %v", s.Instance, err)
	}
	s = &Host{}
	if err := s.NeedInstance(); err != nil || s.Instance == "" {
		t.Errorf("name %q: %v", s.Instance, err)
	}
}
