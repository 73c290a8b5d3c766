package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Time-outs of the server. There is none for a whole answer: streams and
// requests that wait for a backup last as long as they last, so each write has
// a deadline of its own.
const (
	readHeaderTimeout = 10 * time.Second
	bodyTimeout       = 10 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
	// shutdownGrace is how long requests under way may take to end.
	shutdownGrace = 5 * time.Second
)

// ServerConfig is what a Server is given.
type ServerConfig struct {
	Parts
	// Listen is the TCP address, "127.0.0.1:7878"; "": no TCP.
	Listen string
	// TLSCert and TLSKey are PEM files; both or neither.
	TLSCert, TLSKey string
	// SocketPath is where the socket for local administration is made, mode
	// 0600; "": none.
	SocketPath string
	// Token is the admin token of requests over TCP; "": they may read health
	// and metrics, and notify, alone.
	Token string
	// URL is where others reach this instance, as configured; "" when it is
	// not. Sessions through a proxy go by it.
	URL string
	// Proxies are the reverse proxies in front of this server: they are
	// believed where a request comes from (X-Forwarded-For).
	Proxies []netip.Prefix
	// Pages serves the console's files, "/" and below "/console/"; nil: none.
	Pages http.Handler
	// Place is what is told of this host for commands that work without its agent.
	Place   Place
	Version string       // of this program
	Logger  *slog.Logger // nil: no logs
	// Now is the clock of write deadlines; nil: time.Now.
	Now func() time.Time
}

// Server serves an agent. Make one with Listen.
type Server struct {
	log       *slog.Logger
	listeners []net.Listener
	servers   []*http.Server
	tcp       net.Addr
	closing   chan struct{} // closed when shutting down begins: streams end
	close     sync.Once
}

// Listen opens the listeners, so that an address in use, a certificate that
// cannot be read, or a socket that another agent answers on is an error before
// anything else begins.
func Listen(ctx context.Context, cfg ServerConfig) (*Server, error) {
	cfg = cfg.complete()
	s := &Server{log: cfg.Logger, closing: make(chan struct{})}
	all, guarded := newHandlers(cfg, s.closing)
	if err := s.listen(ctx, cfg, all, guarded); err != nil {
		return nil, errors.Join(err, s.closeListeners())
	}
	return s, nil
}

// complete fills in defaults.
func (cfg ServerConfig) complete() ServerConfig {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now //nolint:forbidigo // a deadline of the operating system's is in its time
	}
	return cfg
}

func (s *Server) listen(ctx context.Context, cfg ServerConfig, all, guarded http.Handler) error {
	if cfg.SocketPath != "" {
		l, err := listenSocket(ctx, cfg.SocketPath)
		if err != nil {
			return fmt.Errorf("listen on socket %s: %w", cfg.SocketPath, err)
		}
		s.add(l, all, socketCaller)
	}
	if cfg.Listen == "" {
		return nil
	}
	tlsConfig, err := loadTLS(cfg.TLSCert, cfg.TLSKey)
	if err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", cfg.Listen, err)
	}
	s.tcp = l.Addr()
	l = boundConns(l, cfg)
	if tlsConfig != nil {
		l = tls.NewListener(l, tlsConfig)
	} else if !loopback(s.tcp) {
		s.log.WarnContext(ctx, "passwords and the admin token would travel unencrypted to this address: set UNDERSTUDY_TLS_CERT and UNDERSTUDY_TLS_KEY", slog.Any("address", s.tcp))
	}
	s.add(l, guarded, nil)
	return nil
}

// add serves handler on l. connContext notes who connects; it may be nil.
func (s *Server) add(l net.Listener, handler http.Handler, connContext func(context.Context, net.Conn) context.Context) {
	s.listeners = append(s.listeners, l)
	s.servers = append(s.servers, &http.Server{
		Handler:           handler,
		ConnContext:       connContext,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	})
}

func loadTLS(cert, key string) (*tls.Config, error) {
	switch {
	case cert == "" && key == "":
		return nil, nil
	case cert == "" || key == "":
		return nil, errors.New("a TLS certificate and its key go together: set both UNDERSTUDY_TLS_CERT and UNDERSTUDY_TLS_KEY, or neither")
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("read TLS certificate: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}, nil
}

func loopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// Addr is the TCP address that is listened on; nil when there is none.
func (s *Server) Addr() net.Addr { return s.tcp }

// Serve answers requests until ctx is done, which is no error; then streams
// end, and requests under way have a few seconds to do so. Call it once.
func (s *Server) Serve(ctx context.Context) error {
	failed := make(chan error, len(s.servers))
	var serving sync.WaitGroup
	for i, server := range s.servers {
		serving.Go(func() {
			if err := server.Serve(s.listeners[i]); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serve %s: %w", s.listeners[i].Addr(), err)
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	err = errors.Join(err, s.shutdown(ctx))
	serving.Wait()
	return err
}

func (s *Server) closeListeners() error {
	var errs []error
	for _, l := range s.listeners {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, fmt.Errorf("close listener %s: %w", l.Addr(), err))
		}
	}
	return errors.Join(errs...)
}

// shutdown ends all servers: gracefully at first, by force after a while.
func (s *Server) shutdown(ctx context.Context) error {
	s.close.Do(func() { close(s.closing) })
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	errs := make([]error, len(s.servers))
	var all sync.WaitGroup
	for i, server := range s.servers {
		all.Go(func() {
			err := server.Shutdown(ctx)
			if errors.Is(err, context.DeadlineExceeded) {
				err = server.Close()
			}
			if err != nil && !errors.Is(err, net.ErrClosed) {
				errs[i] = fmt.Errorf("shut down %s: %w", s.listeners[i].Addr(), err)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
