package api

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/ha/client"
)

func TestTheSocketIsItsOwnersAlone(t *testing.T) {
	s := start(t, "")
	info, err := os.Stat(s.path)
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	entries, err := os.ReadDir(filepath.Dir(s.path))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside it: %v, %v", entries, err)
	}
	s.stop()
	err = <-s.done
	s.done <- err
	if _, err := os.Stat(s.path); !os.IsNotExist(err) {
		t.Errorf("after the end: %v", err)
	}
}

// TestASocketThatADeadAgentLeftIsReplaced: after kill -9 the next start works.
func TestASocketThatADeadAgentLeftIsReplaced(t *testing.T) {
	path := socketPath(t)
	for _, p := range []string{path, path + socketSuffix} {
		l, err := new(net.ListenConfig).Listen(t.Context(), "unix", p)
		if err != nil {
			t.Fatal(err)
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l, err := listenSocket(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestASocketInUseIsNotTaken(t *testing.T) {
	s := start(t, "")
	_, err := Listen(t.Context(), ServerConfig{Parts: s.fake.parts(), SocketPath: s.path})
	if err == nil || !strings.Contains(err.Error(), "another agent answers") {
		t.Errorf("second agent: %v", err)
	}
	if _, err := s.socket.Role(t.Context()); err != nil {
		t.Errorf("the first one's socket: %v", err)
	}
}

func TestPathsThatCannotBeASocket(t *testing.T) {
	path := socketPath(t)
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenSocket(t.Context(), path); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("a file: %v", err)
	}
	if text, _ := os.ReadFile(path); string(text) != "precious" {
		t.Errorf("the file now holds %q", text)
	}
	if _, err := listenSocket(t.Context(), "/"+strings.Repeat("x", 120)); err == nil || !strings.Contains(err.Error(), "shorter path") {
		t.Errorf("a long path: %v", err)
	}
	if _, err := listenSocket(t.Context(), filepath.Join(filepath.Dir(path), "missing", "s")); err == nil {
		t.Error("a folder that is missing: no error")
	}
}

// TestAnAddressInUseLeavesNothingBehind: the socket goes with the failed start.
func TestAnAddressInUseLeavesNothingBehind(t *testing.T) {
	s := start(t, "")
	path := socketPath(t)
	_, err := Listen(t.Context(), ServerConfig{Parts: s.fake.parts(), Listen: s.server.Addr().String(), SocketPath: path})
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("listen: %v", err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
	if _, err := Listen(t.Context(), ServerConfig{Parts: s.fake.parts(), Listen: s.server.Addr().String()}); err == nil {
		t.Error("Serve: no error")
	}
}

func TestAListenerThatFailsEndsTheServer(t *testing.T) {
	s := start(t, "")
	if err := s.server.listeners[1].Close(); err != nil {
		t.Fatal(err)
	}
	err := <-s.done
	s.done <- nil
	if err == nil || !strings.Contains(err.Error(), "serve 127.0.0.1") {
		t.Errorf("serve: %v", err)
	}
}

func TestRequestsUnderWayAreAnsweredBeforeTheEnd(t *testing.T) {
	s := start(t, "")
	s.fake.entered, s.fake.leave = make(chan struct{}), make(chan struct{})
	got := make(chan error, 1)
	go func() {
		_, err := s.socket.BackupAndWait(context.WithoutCancel(t.Context()), "last")
		got <- err
	}()
	<-s.fake.entered
	s.stop()
	<-s.server.closing
	close(s.fake.leave)
	if err := <-got; err != nil {
		t.Errorf("the request: %v", err)
	}
}

func TestTLS(t *testing.T) {
	cert, key := selfSigned(t)
	for _, c := range [][2]string{{cert, ""}, {"", key}, {cert, cert}, {key + "x", key}} {
		if _, err := Listen(t.Context(), ServerConfig{Parts: newFake(t).parts(), Listen: "127.0.0.1:0", TLSCert: c[0], TLSKey: c[1]}); err == nil || !strings.Contains(err.Error(), "TLS certificate") {
			t.Errorf("%v: %v", c, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	server, err := Listen(ctx, ServerConfig{Parts: newFake(t).parts(), Listen: "127.0.0.1:0", TLSCert: cert, TLSKey: key, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx) }()
	text, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	c, err := client.New("https://"+server.Addr().String(), client.WithToken(token), client.WithTLS(&tls.Config{RootCAs: pool}))
	if err != nil {
		t.Fatal(err)
	}
	if l, err := c.Leader(t.Context()); err != nil || !l.Leading {
		t.Errorf("leader: %+v, %v", l, err)
	}
	if err := c.Do(t.Context(), "GET", "/api/v1/status", nil, nil); err != nil {
		t.Errorf("status: %v", err)
	}
	c.Close()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", keyDER)
}
