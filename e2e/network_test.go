package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/e2e/server"
)

// storeName is a host that no resolver knows: whoever reaches it went through
// the proxy.
const storeName = "store.understudy.invalid"

// authority is a CA of a test's own.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // its certificate, in PEM
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA of a test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	var der []byte
	a.key, der = certify(t, template, template, nil)
	a.cert, _ = x509.ParseCertificate(der) // just made
	a.file = filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(a.file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

// server makes a certificate for the names that the store has here.
func (a *authority) server(t *testing.T) tls.Certificate {
	t.Helper()
	key, der := certify(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: storeName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{storeName}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, a.cert, a.key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// certify makes a key and a certificate for it; by nil signs itself.
func certify(t *testing.T, template, parent *x509.Certificate, by *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if by == nil {
		by = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	return key, der
}

// withTLS puts TLS before a server, and returns its address.
func withTLS(t *testing.T, m *server.MinIOServer, cert tls.Certificate) string {
	t.Helper()
	front := httptest.NewUnstartedServer(&httputil.ReverseProxy{
		Rewrite:  func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", m.Address },
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	})
	front.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // clients that do not trust it
	front.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	front.StartTLS()
	t.Cleanup(front.Close)
	return front.Listener.Addr().String()
}

// webProxy is an HTTP proxy, as firms have one. It alone knows where the store
// is.
type webProxy struct {
	*httptest.Server
	to map[string]string // host:port → address

	mu     sync.Mutex
	tunnel int // how often one was asked for
	plain  int // how many requests were passed on
}

func newWebProxy(t *testing.T, to map[string]string) *webProxy {
	t.Helper()
	p := &webProxy{to: to}
	p.Server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(func() {
		p.CloseClientConnections()
		p.Close()
	})
	return p
}

func (p *webProxy) serve(w http.ResponseWriter, r *http.Request) {
	address, known := p.to[r.Host]
	p.mu.Lock()
	if r.Method == http.MethodConnect {
		p.tunnel++
	} else {
		p.plain++
	}
	p.mu.Unlock()
	switch {
	case !known:
		http.Error(w, "no such host: "+r.Host, http.StatusBadGateway)
	case r.Method == http.MethodConnect:
		connect(w, address)
	default:
		(&httputil.ReverseProxy{
			Rewrite:  func(out *httputil.ProxyRequest) { out.Out.URL.Scheme, out.Out.URL.Host = "http", address },
			ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		}).ServeHTTP(w, r)
	}
}

// connect makes a tunnel of a connection, and returns when either end is done.
func connect(w http.ResponseWriter, address string) {
	there, err := net.Dial("tcp", address)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer there.Close()
	w.WriteHeader(http.StatusOK)
	here, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer here.Close()
	ended := make(chan struct{}, 2)
	for _, pipe := range []struct{ to, from net.Conn }{{there, here}, {here, there}} {
		go func() {
			_, _ = io.Copy(pipe.to, pipe.from) // either end may go at any time
			ended <- struct{}{}
		}()
	}
	<-ended
}

func (p *webProxy) used() (tunnels, plain int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tunnel, p.plain
}

// unproxied is a host's environment without what this machine may say of
// proxies and certificates.
func (h *host) unproxied() {
	h.env = slices.DeleteFunc(slices.Clone(h.env), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		switch strings.ToUpper(name) {
		case "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "AWS_CA_BUNDLE":
			return true
		}
		return false
	})
}

// minioURL is the minio:// URL of an s3:// URL's bucket.
func minioURL(t *testing.T, bucket, address string, tls string) string {
	t.Helper()
	return (&url.URL{
		Scheme: "minio", Host: address, Path: "/" + bucketName(t, bucket) + "/state",
		RawQuery: url.Values{"tls": {tls}, "region": {"us-east-1"}}.Encode(),
	}).String()
}

func TestProxiesAndCAsAreHonoured(t *testing.T) {
	t.Parallel()
	m := server.SharedMinIO(t)
	ca := newAuthority(t)
	secure := withTLS(t, m, ca.server(t))
	proxy := newWebProxy(t, map[string]string{storeName + ":443": secure, storeName: m.Address, storeName + ":80": m.Address})
	const https, plain = "https://", "http://"
	trust, bundle := "SSL_CERT_FILE="+ca.file, "AWS_CA_BUNDLE="+ca.file
	for name, tt := range map[string]struct {
		bucket func(bucket string) string
		env    []string
		tunnel bool // through the proxy by CONNECT
		plain  bool // through the proxy by plain requests
	}{
		"s3 file":          {func(b string) string { return through(t, b, https+secure) }, []string{trust}, false, false},
		"s3 bundle":        {func(b string) string { return through(t, b, https+secure) }, []string{bundle}, false, false},
		"minio file":       {func(b string) string { return minioURL(t, b, secure, "true") }, []string{trust}, false, false},
		"s3 tunnel":        {func(b string) string { return through(t, b, https+storeName) }, []string{trust, "HTTPS_PROXY=" + proxy.URL}, true, false},
		"s3 tunnel bundle": {func(b string) string { return through(t, b, https+storeName) }, []string{bundle, "HTTPS_PROXY=" + proxy.URL}, true, false},
		"minio tunnel":     {func(b string) string { return minioURL(t, b, storeName, "true") }, []string{trust, "HTTPS_PROXY=" + proxy.URL}, true, false},
		"s3 forward":       {func(b string) string { return through(t, b, plain+storeName) }, []string{"HTTP_PROXY=" + proxy.URL}, false, true},
		"minio forward":    {func(b string) string { return minioURL(t, b, storeName, "false") }, []string{"HTTP_PROXY=" + proxy.URL}, false, true},
		"s3 exception":     {func(b string) string { return through(t, b, plain+m.Address) }, []string{"HTTP_PROXY=http://127.0.0.1:1", "NO_PROXY=127.0.0.1"}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			c, a := bare(t, m)
			a.unproxied()
			a.env = append(a.env, append(tt.env, "UNDERSTUDY_BUCKET="+tt.bucket(c.bucket))...)
			tunnels, requests := proxy.used()
			a.run("init")
			a.serve()
			newest := query[backup.Ref](a, "backup")
			a.run("verify", newest.ID, "--deep")
			a.stopAgent()
			tunnels2, requests2 := proxy.used()
			if went := tunnels2 > tunnels; went != tt.tunnel {
				t.Errorf("%d tunnels through the proxy", tunnels2-tunnels)
			}
			if went := requests2 > requests; went != tt.plain {
				t.Errorf("%d requests through the proxy", requests2-requests)
			}
		})
	}
}

func TestUntrustedStoreIsOneError(t *testing.T) {
	m := server.SharedMinIO(t)
	secure := withTLS(t, m, newAuthority(t).server(t))
	other := newAuthority(t)
	for name, bucket := range map[string]func(bucket string) string{
		"s3":    func(b string) string { return through(t, b, "https://"+secure) },
		"minio": func(b string) string { return minioURL(t, b, secure, "true") },
	} {
		t.Run(name, func(t *testing.T) {
			c, a := bare(t, m)
			a.unproxied()
			a.env = append(a.env, "SSL_CERT_FILE="+other.file, "UNDERSTUDY_BUCKET="+bucket(c.bucket))
			began := time.Now()
			r := a.try("init")
			if r.code != 4 || strings.Count(strings.TrimSpace(r.errout), "\n") != 0 || strings.Count(r.errout, "certificate is not trusted") != 1 || !strings.Contains(r.errout, "SSL_CERT_FILE") {
				t.Errorf("exit %d\n%s%s", r.code, r.out, r.errout)
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
			found, r := a.doctor()
			if f := found["bucket"]; r.code != 4 || f.Result != "failed" || !strings.Contains(f.Detail, "certificate is not trusted") {
				t.Errorf("doctor: exit %d, %+v", r.code, f)
			}
			if keys := keysBelow(t, m, c.bucket, ""); len(keys) > 0 {
				t.Errorf("in the bucket: %v", keys)
			}
		})
	}
}
