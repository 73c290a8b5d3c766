package sample

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// serve runs the application in the foreground until ctx ends.
func serve(ctx context.Context, c config, out io.Writer) (err error) {
	if err := c.lifeline.check(); err != nil {
		return err // before anything is made on disk
	}
	dir := runDir(c.runDir)
	release, err := dir.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	t, err := openTable(ctx, c, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	if c.files {
		if err := makeDurable(c.uploads()); err != nil {
			return err
		}
	}
	l, err := openLedger(c.ledger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	w := newWriter(c, t, l)
	server := &http.Server{Handler: handler(w, t), ReadHeaderTimeout: 5 * time.Second}
	url := "http://" + listener.Addr().String()
	if err := dir.setURL(url); err != nil {
		return errors.Join(err, listener.Close())
	}
	fmt.Fprintf(out, "sample: serving on %s\n", url)
	return runAll(ctx, server, listener, w, c.lifeline)
}

// runAll runs page and writer; when either fails, the lifeline goes, or ctx
// ends, both end.
func runAll(ctx context.Context, server *http.Server, listener net.Listener, w *writer, line lifeline) error {
	outer := ctx
	ctx, cancel := context.WithCancelCause(outer)
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := w.loop(ctx); err != nil {
			cancel(err)
		}
	})
	wg.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			cancel(fmt.Errorf("serve: %w", err))
		}
	})
	if line != "" {
		wg.Go(func() { cancel(line.watch(ctx)) })
	}
	<-ctx.Done()
	closing, stop := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer stop()
	if err := server.Shutdown(closing); err != nil {
		_ = server.Close()
	}
	wg.Wait()
	if outer.Err() != nil {
		return nil
	}
	return context.Cause(ctx)
}

// page is no template, which would have every method of every type linked into the
// program: it shows nothing but numbers.
func page(c counts) string {
	held := ""
	if c.Held {
		held = " Commits are held."
	}
	return fmt.Sprintf(`<!doctype html>
<meta charset="utf-8"><meta http-equiv="refresh" content="2"><title>sample</title>
<h1>Sample</h1>
<p>%d entries, the last is number %d.%s</p>
`, c.Rows, c.Last, held)
}

type counts struct {
	Rows int64 `json:"rows"`
	Last int64 `json:"last"`
	Held bool  `json:"held"`
}

type health struct {
	Status string `json:"status"`
	PID    int    `json:"pid"`
}

func handler(w *writer, t *table) http.Handler {
	mux := http.NewServeMux()
	count := func(rw http.ResponseWriter, r *http.Request) (counts, bool) {
		rows, last, err := t.count(r.Context())
		if err != nil {
			http.Error(rw, err.Error(), http.StatusInternalServerError)
			return counts{}, false
		}
		return counts{Rows: rows, Last: last, Held: w.held()}, true
	}
	mux.HandleFunc("GET /{$}", func(rw http.ResponseWriter, r *http.Request) {
		if c, ok := count(rw, r); ok {
			rw.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(rw, page(c)) // the reader went away
		}
	})
	mux.HandleFunc("GET /count", func(rw http.ResponseWriter, r *http.Request) {
		if c, ok := count(rw, r); ok {
			answer(rw, c)
		}
	})
	mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, _ *http.Request) {
		answer(rw, health{Status: "ok", PID: os.Getpid()})
	})
	mux.HandleFunc("POST /quiesce", func(rw http.ResponseWriter, r *http.Request) {
		hold, err := time.ParseDuration(r.FormValue("hold"))
		if err != nil || hold <= 0 {
			http.Error(rw, "hold must be a positive duration", http.StatusBadRequest)
			return
		}
		w.quiesce(hold)
		answer(rw, health{Status: "held", PID: os.Getpid()})
	})
	mux.HandleFunc("POST /resume", func(rw http.ResponseWriter, _ *http.Request) {
		w.resume()
		answer(rw, health{Status: "ok", PID: os.Getpid()})
	})
	return mux
}

func answer(rw http.ResponseWriter, v any) {
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(v) // the reader went away
}
