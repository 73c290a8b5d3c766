package main

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/pflag"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
)

// lookupFunc reads an environment variable, as os.LookupEnv does.
type lookupFunc func(name string) (string, bool)

// settings is what flags and environment say about bucket, identity and this
// host. It is checked as a whole before anything is opened.
type settings struct {
	Bucket         string
	Key            secret
	KeyFile        string
	Instance       string
	URL            string
	Listen         string
	TLSCert        string
	TLSKey         string
	TLSCA          string
	Proxies        []netip.Prefix
	AdminToken     secret
	AdminTokenFile string
	DataDir        string
	Config         string
	Poll           time.Duration
	UploadLimit    int64 // bytes per second; 0 for none
	DownloadLimit  int64 // bytes per second; 0 for none
	LogLevel       slog.Level
	LogFormat      string

	given map[string]bool // by flag or environment, by the flag's name
}

const envPrefix = "UNDERSTUDY_"

// variable is one setting: UNDERSTUDY_<NAME> and, unless it is a secret,
// --<name>.
type variable struct {
	name     string // of the flag
	fallback string
	usage    string
	secret   bool // it has no flag
	set      func(s *settings, value string) error
}

func (v variable) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(v.name, "-", "_"))
}

// variables lists all settings, in the order of the help text.
var variables = []variable{
	{name: "bucket", usage: "the bucket: s3://bucket/prefix?region=…&endpoint=… or file:///path", set: setBucket},
	{name: "key", secret: true, set: func(s *settings, v string) error { s.Key = secret(v); return nil }},
	{name: "key-file", usage: "file with the key ring, newest first", set: setPath(func(s *settings) *string { return &s.KeyFile })},
	{name: "instance", usage: "this instance's name (the host name)", set: setInstance},
	{name: "url", usage: "URL at which the other instances reach this one; empty: polling only", set: setURL},
	{name: "listen", fallback: "127.0.0.1:7878", usage: "address of API and console", set: setListen},
	{name: "tls-cert", usage: "certificate to serve TLS with", set: setPath(func(s *settings) *string { return &s.TLSCert })},
	{name: "tls-key", usage: "the certificate's private key", set: setPath(func(s *settings) *string { return &s.TLSKey })},
	{name: "tls-ca", usage: "certificates to trust in peers, besides the system's", set: setPath(func(s *settings) *string { return &s.TLSCA })},
	{name: "trusted-proxies", usage: "reverse proxies in front of API and console: addresses or prefixes with commas between; X-Forwarded-For is believed from them alone", set: setProxies},
	{name: "admin-token", secret: true, set: func(s *settings, v string) error { s.AdminToken = secret(v); return nil }},
	{name: "admin-token-file", usage: "file with the bearer token of the admin API over TCP", set: setPath(func(s *settings) *string { return &s.AdminTokenFile })},
	{name: "inherit", secret: true, set: func(*settings, string) error { return nil }}, // read where programs are started: source.WithoutSecrets
	{name: "data-dir", fallback: "/var/lib/understudy", usage: "folder of cache, journal and role", set: setPath(func(s *settings) *string { return &s.DataDir })},
	{name: "config", fallback: "/etc/understudy/understudy.yaml", usage: "file that says what to back up", set: setPath(func(s *settings) *string { return &s.Config })},
	{name: "poll", fallback: "10s", usage: "how often to look at the bucket", set: setPoll},
	{name: "upload-limit", usage: "bytes per second to the bucket, such as 10MiB (none)", set: setRate(func(s *settings) *int64 { return &s.UploadLimit })},
	{name: "download-limit", usage: "bytes per second from the bucket (none)", set: setRate(func(s *settings) *int64 { return &s.DownloadLimit })},
	{name: "log-level", fallback: "info", usage: "debug, info, warn or error", set: setLogLevel},
	{name: "log-format", fallback: "text", usage: "text or json", set: setLogFormat},
}

// registerSettings gives every setting but the secrets a flag.
func registerSettings(f *pflag.FlagSet) {
	for _, v := range variables {
		if !v.secret {
			f.String(v.name, v.fallback, fmt.Sprintf("%s [%s]", v.usage, v.env()))
		}
	}
}

// readSettings takes every setting from its flag, its variable, the data folder
// (what was entered at the set-up) or its default, in this order, and checks it. All mistakes are reported at once.
func readSettings(f *pflag.FlagSet, lookup lookupFunc) (*settings, error) {
	s := &settings{given: map[string]bool{}}
	var errs []error
	for _, v := range variables {
		value, from := v.fallback, v.env()
		if text, ok := lookup(v.env()); ok && text != "" {
			value, s.given[v.name] = text, true
		}
		if flag := f.Lookup(v.name); flag != nil && flag.Changed {
			value, from, s.given[v.name] = flag.Value.String(), "--"+v.name, true
		}
		if value == "" {
			continue
		}
		if err := v.set(s, value); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", from, err))
		}
	}
	errs = append(errs, s.recall(), s.checkPairs())
	if err := errors.Join(errs...); err != nil {
		return nil, exit.With(exit.ErrUsage, err)
	}
	return s, nil
}

func (s *settings) checkPairs() error {
	var errs []error
	if s.Key != "" && s.KeyFile != "" {
		errs = append(errs, errors.New("UNDERSTUDY_KEY and a key file are both set; set one"))
	}
	if s.AdminToken != "" && s.AdminTokenFile != "" {
		errs = append(errs, errors.New("UNDERSTUDY_ADMIN_TOKEN and an admin token file are both set; set one"))
	}
	if (s.TLSCert == "") != (s.TLSKey == "") {
		errs = append(errs, errors.New("TLS needs both a certificate (--tls-cert) and its key (--tls-key)"))
	}
	return errors.Join(errs...)
}

// needInstance is for commands that act as this instance: one without a name
// is named after its host.
func (s *settings) needInstance() error {
	if s.Instance != "" {
		return nil
	}
	host, err := os.Hostname()
	if err != nil {
		return exit.Usagef("find the host name: %w; set UNDERSTUDY_INSTANCE", err)
	}
	if err := setInstance(s, strings.ToLower(host)); err != nil {
		return exit.Usagef("the host name cannot be the instance's name: %w; set UNDERSTUDY_INSTANCE", err)
	}
	return nil
}

// needBucket is for commands that open the bucket themselves.
func (s *settings) needBucket() error {
	if s.Bucket == "" {
		return exit.Usagef("no bucket is set; set UNDERSTUDY_BUCKET or --bucket, for example s3://bucket/prefix or file:///srv/understudy")
	}
	return nil
}

func (s *settings) socket() string { return filepath.Join(s.DataDir, "agent.sock") }

func setBucket(s *settings, v string) error {
	u, err := url.Parse(v)
	if err != nil || u.Scheme == "" {
		return errors.New("is not a URL such as s3://bucket/prefix or file:///path")
	}
	s.Bucket = v
	return nil
}

// instanceName is what fits object keys and file names on every system.
var instanceName = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$`)

func setInstance(s *settings, v string) error {
	if !instanceName.MatchString(v) {
		return fmt.Errorf("%q is no instance name: use up to 63 of a-z, 0-9, dot, dash and underscore, beginning and ending with a letter or digit", v)
	}
	s.Instance = v
	return nil
}

func setURL(s *settings, v string) error {
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return errors.New("is not a URL with its scheme, such as https://host-a:7878")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("must be no more than scheme, host, port and path")
	}
	s.URL = strings.TrimSuffix(v, "/")
	return nil
}

func setListen(s *settings, v string) error {
	if _, _, err := net.SplitHostPort(v); err != nil {
		return fmt.Errorf("%q is not host:port, such as 127.0.0.1:7878 or :7878", v)
	}
	s.Listen = v
	return nil
}

func setProxies(s *settings, v string) error {
	var proxies []netip.Prefix
	for text := range strings.SplitSeq(v, ",") {
		text = strings.TrimSpace(text)
		if addr, err := netip.ParseAddr(text); err == nil {
			proxies = append(proxies, netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return fmt.Errorf("%q is no address and no prefix, such as 127.0.0.1 or 10.0.0.0/8", text)
		}
		proxies = append(proxies, p.Masked())
	}
	s.Proxies = proxies
	return nil
}

func setPath(field func(*settings) *string) func(*settings, string) error {
	return func(s *settings, v string) error {
		abs, err := filepath.Abs(v)
		if err != nil {
			return fmt.Errorf("resolve path: %w", err)
		}
		*field(s) = abs
		return nil
	}
}

const minPoll = 100 * time.Millisecond

func setPoll(s *settings, v string) error {
	d, err := time.ParseDuration(v)
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 10s", v)
	}
	if d < minPoll {
		return fmt.Errorf("%v is too short; set %v or more", d, minPoll)
	}
	s.Poll = d
	return nil
}

func setRate(field func(*settings) *int64) func(*settings, string) error {
	return func(s *settings, v string) error {
		n, err := humanize.ParseBytes(strings.TrimSuffix(v, "/s"))
		if err != nil || n > math.MaxInt64 {
			return fmt.Errorf("%q is not a number of bytes such as 10MiB", v)
		}
		*field(s) = int64(n)
		return nil
	}
}

func setLogLevel(s *settings, v string) error {
	if err := s.LogLevel.UnmarshalText([]byte(v)); err != nil {
		return fmt.Errorf("%q is not debug, info, warn or error", v)
	}
	return nil
}

func setLogFormat(s *settings, v string) error {
	if v != "text" && v != "json" {
		return fmt.Errorf("%q is neither text nor json", v)
	}
	s.LogFormat = v
	return nil
}
