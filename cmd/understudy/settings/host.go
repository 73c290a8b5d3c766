// Package settings makes typed settings of what people write: flags, environment
// and what was entered at the set-up become a Host, the YAML file becomes a File.
//
// Everything is checked as a whole before anything is opened, and an error lists
// every mistake and what to do. Mistakes are of the kind exit.ErrUsage. A Secret is
// shown by no print, log or JSON.
package settings

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

// Lookup reads an environment variable, as os.LookupEnv does.
type Lookup func(name string) (string, bool)

// Host is what flags, environment and set-up say about bucket, identity and this
// host.
type Host struct {
	Bucket         string
	Key            Secret
	KeyFile        string
	Instance       string
	URL            string
	Listen         string
	TLSCert        string
	TLSKey         string
	TLSCA          string
	Proxies        []netip.Prefix
	AdminToken     Secret
	AdminTokenFile string
	DataDir        string
	Config         string
	Poll           time.Duration
	UploadLimit    int64 // bytes per second; 0 for none
	DownloadLimit  int64 // bytes per second; 0 for none
	LogLevel       slog.Level
	LogFormat      string

	given       map[string]bool // by flag or environment, by the flag's name
	environment *Environment
}

const envPrefix = "UNDERSTUDY_"

// variable is one setting: UNDERSTUDY_<NAME> and, unless it is a secret,
// --<name>.
type variable struct {
	name     string // of the flag
	fallback string
	usage    string
	secret   bool   // it has no flag
	instead  string // what is given instead of it, by the flag's name
	set      func(h *Host, value string) error
}

func (v variable) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(v.name, "-", "_"))
}

// variables lists all settings, in the order of the help text.
var variables = []variable{
	{name: "bucket", usage: "the bucket: s3://bucket/prefix?region=…&endpoint=… or file:///path", set: (*Host).SetBucket},
	{name: "key", secret: true, instead: "key-file", usage: "the shared key itself", set: func(h *Host, v string) error { h.Key = Secret(v); return nil }},
	{name: "key-file", instead: "key", usage: "file with the key ring, newest first", set: setPath(func(h *Host) *string { return &h.KeyFile })},
	{name: "instance", usage: "this instance's name (the host name)", set: (*Host).SetInstance},
	{name: "url", usage: "URL at which the other instances reach this one; empty: polling only", set: (*Host).SetURL},
	{name: "listen", fallback: "127.0.0.1:7878", usage: "address of API and console", set: (*Host).setListen},
	{name: "tls-cert", usage: "certificate to serve TLS with", set: setPath(func(h *Host) *string { return &h.TLSCert })},
	{name: "tls-key", usage: "the certificate's private key", set: setPath(func(h *Host) *string { return &h.TLSKey })},
	{name: "tls-ca", usage: "certificates to trust in peers, besides the system's", set: setPath(func(h *Host) *string { return &h.TLSCA })},
	{name: "trusted-proxies", usage: "reverse proxies in front of API and console: addresses or prefixes with commas between; X-Forwarded-For is believed from them alone", set: (*Host).setProxies},
	{name: "admin-token", secret: true, instead: "admin-token-file", usage: "bearer token of the admin API over TCP", set: func(h *Host, v string) error { h.AdminToken = Secret(v); return nil }},
	{name: "admin-token-file", instead: "admin-token", usage: "file with the bearer token of the admin API over TCP", set: setPath(func(h *Host) *string { return &h.AdminTokenFile })},
	{name: "inherit", secret: true, usage: "credentials of the bucket that hooks and the application inherit, such as AWS_ACCESS_KEY_ID,AWS_SECRET_ACCESS_KEY", set: func(*Host, string) error { return nil }}, // read where programs are started: environ.WithoutSecrets
	{name: "data-dir", fallback: "/var/lib/understudy", usage: "folder of cache, journal and role", set: setPath(func(h *Host) *string { return &h.DataDir })},
	{name: "config", fallback: "/etc/understudy/understudy.yaml", usage: "file that says what to back up", set: setPath(func(h *Host) *string { return &h.Config })},
	{name: "environment-file", usage: "file with variables that neither flag nor environment sets, as systemd reads it; none for no file (" + EnvironmentPath + ")", set: func(*Host, string) error { return nil }}, // read before all others
	{name: "poll", fallback: "10s", usage: "how often to look at the bucket", set: (*Host).setPoll},
	{name: "upload-limit", usage: "bytes per second to the bucket, such as 10MiB (none)", set: setRate(func(h *Host) *int64 { return &h.UploadLimit })},
	{name: "download-limit", usage: "bytes per second from the bucket (none)", set: setRate(func(h *Host) *int64 { return &h.DownloadLimit })},
	{name: "log-level", fallback: "info", usage: "debug, info, warn or error", set: (*Host).setLogLevel},
	{name: "log-format", fallback: "text", usage: "text or json", set: (*Host).setLogFormat},
}

// Variables lists the environment variables of all settings.
func Variables() (names []string) {
	for _, v := range variables {
		names = append(names, v.env())
	}
	return names
}

// Register gives every setting but the secrets a flag.
func Register(f *pflag.FlagSet) {
	for _, v := range variables {
		if !v.secret {
			f.String(v.name, v.fallback, fmt.Sprintf("%s [%s]", v.usage, v.env()))
		}
	}
}

// Read takes every setting from its flag, its variable, the environment file (nil:
// none), the data folder (what was entered at the set-up) or its default, in this order,
// and checks it. All mistakes are reported at once.
func Read(f *pflag.FlagSet, lookup Lookup, file *Environment) (*Host, error) {
	h := &Host{given: map[string]bool{}, environment: file}
	var errs []error
	for _, v := range variables {
		value, from, given := v.value(f, lookup, file)
		if h.given[v.name] = given; value == "" {
			continue
		}
		if err := v.set(h, value); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", from, err))
		}
	}
	errs = append(errs, h.recall(), h.checkPairs())
	if err := errors.Join(errs...); err != nil {
		return nil, exit.With(exit.ErrUsage, err)
	}
	return h, nil
}

// near is what the flag or the environment gives, and from which of them. A variable
// that is set to nothing is not set, and what the file has of it does not count.
func (v variable) near(f *pflag.FlagSet, lookup Lookup) (value, from string, ok bool) {
	value, ok = lookup(v.env())
	from = v.env()
	if flag := f.Lookup(v.name); flag != nil && flag.Changed {
		value, from, ok = flag.Value.String(), "--"+v.name, true
	}
	return value, from, ok
}

// value is what is given, from where, and whether by anything but the default.
func (v variable) value(f *pflag.FlagSet, lookup Lookup, file *Environment) (value, from string, given bool) {
	value, from, ok := v.near(f, lookup)
	if ok {
		if value == "" {
			return v.fallback, from, from != v.env()
		}
		return value, from, true
	}
	if v.instead != "" {
		if other, _, ok := (variable{name: v.instead}).near(f, lookup); ok && other != "" {
			return v.fallback, from, false
		}
	}
	if value, from, ok := file.lookup(v.env()); ok {
		return value, from, true
	}
	return v.fallback, from, false
}

// Exposed says which secrets of this host others on it can read.
func (h *Host) Exposed() (problems []string) {
	for _, problem := range []string{checkPrivate(h.KeyFile), checkPrivate(h.AdminTokenFile), h.environment.problem()} {
		if problem != "" {
			problems = append(problems, problem)
		}
	}
	return problems
}

// Given reports whether a flag or the environment gives a setting, by the flag's
// name.
func (h *Host) Given(name string) bool { return h.given[name] }

func (h *Host) checkPairs() error {
	var errs []error
	if h.Key != "" && h.KeyFile != "" {
		errs = append(errs, errors.New("UNDERSTUDY_KEY and a key file are both set; set one"))
	}
	if h.AdminToken != "" && h.AdminTokenFile != "" {
		errs = append(errs, errors.New("UNDERSTUDY_ADMIN_TOKEN and an admin token file are both set; set one"))
	}
	if (h.TLSCert == "") != (h.TLSKey == "") {
		errs = append(errs, errors.New("TLS needs both a certificate (--tls-cert) and its key (--tls-key)"))
	}
	return errors.Join(errs...)
}

// NeedInstance is for commands that act as this instance: one without a name
// is named after its host.
func (h *Host) NeedInstance() error {
	if h.Instance != "" {
		return nil
	}
	host, err := os.Hostname()
	if err != nil {
		return exit.Usagef("find the host name: %w; set UNDERSTUDY_INSTANCE", err)
	}
	if err := h.SetInstance(strings.ToLower(host)); err != nil {
		return exit.Usagef("the host name cannot be the instance's name: %w; set UNDERSTUDY_INSTANCE", err)
	}
	return nil
}

// NeedBucket is for commands that open the bucket themselves.
func (h *Host) NeedBucket() error {
	if h.Bucket == "" {
		return exit.Usagef("no bucket is set; set UNDERSTUDY_BUCKET or --bucket, for example s3://bucket/prefix or file:///srv/understudy")
	}
	return nil
}

// Socket is where this host's agent listens for commands.
func (h *Host) Socket() string { return filepath.Join(h.DataDir, "agent.sock") }

// SetBucket takes the URL of a bucket.
func (h *Host) SetBucket(v string) error {
	u, err := url.Parse(v)
	if err != nil || u.Scheme == "" {
		return errors.New("is not a URL such as s3://bucket/prefix or file:///path")
	}
	h.Bucket = v
	return nil
}

// instanceName is what fits object keys and file names on every system.
var instanceName = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$`)

// SetInstance takes the name of this instance.
func (h *Host) SetInstance(v string) error {
	if !instanceName.MatchString(v) {
		return fmt.Errorf("%q is no instance name: use up to 63 of a-z, 0-9, dot, dash and underscore, beginning and ending with a letter or digit", v)
	}
	h.Instance = v
	return nil
}

// SetURL takes the URL at which others reach this host.
func (h *Host) SetURL(v string) error {
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return errors.New("is not a URL with its scheme, such as https://host-a:7878")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("must be no more than scheme, host, port and path")
	}
	h.URL = strings.TrimSuffix(v, "/")
	return nil
}

func (h *Host) setListen(v string) error {
	if _, _, err := net.SplitHostPort(v); err != nil {
		return fmt.Errorf("%q is not host:port, such as 127.0.0.1:7878 or :7878", v)
	}
	h.Listen = v
	return nil
}

func (h *Host) setProxies(v string) error {
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
	h.Proxies = proxies
	return nil
}

func setPath(field func(*Host) *string) func(*Host, string) error {
	return func(h *Host, v string) error {
		abs, err := filepath.Abs(v)
		if err != nil {
			return fmt.Errorf("resolve path: %w", err)
		}
		*field(h) = abs
		return nil
	}
}

const minPoll = 100 * time.Millisecond

func (h *Host) setPoll(v string) error {
	d, err := time.ParseDuration(v)
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 10s", v)
	}
	if d < minPoll {
		return fmt.Errorf("%v is too short; set %v or more", d, minPoll)
	}
	h.Poll = d
	return nil
}

func setRate(field func(*Host) *int64) func(*Host, string) error {
	return func(h *Host, v string) error {
		n, err := humanize.ParseBytes(strings.TrimSuffix(v, "/s"))
		if err != nil || n > math.MaxInt64 {
			return fmt.Errorf("%q is not a number of bytes such as 10MiB", v)
		}
		*field(h) = int64(n)
		return nil
	}
}

func (h *Host) setLogLevel(v string) error {
	if err := h.LogLevel.UnmarshalText([]byte(v)); err != nil {
		return fmt.Errorf("%q is not debug, info, warn or error", v)
	}
	return nil
}

func (h *Host) setLogFormat(v string) error {
	if v != "text" && v != "json" {
		return fmt.Errorf("%q is neither text nor json", v)
	}
	h.LogFormat = v
	return nil
}

// Help lists all settings for people: the flag, the variable, and what it is.
func Help() string {
	var b strings.Builder
	for i, v := range variables {
		if i > 0 {
			b.WriteString("\n\n")
		}
		if !v.secret {
			fmt.Fprintf(&b, "  --%s, ", v.name)
		} else {
			b.WriteString("  ")
		}
		b.WriteString(v.env())
		if v.fallback != "" {
			fmt.Fprintf(&b, " (%s)", v.fallback)
		}
		fmt.Fprintf(&b, "\n      %s", v.usage)
	}
	return b.String()
}
