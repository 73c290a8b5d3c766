package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed assets
var assets embed.FS

// policy keeps everything out that is not in these files.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"

// Handler serves the console of a running agent: "/" and below "/console/".
func Handler() http.Handler { return pages("index.html") }

// SetupHandler serves the first-run set-up at the same paths.
func SetupHandler() http.Handler { return pages("setup.html") }

// file is one asset, ready to be sent.
type file struct {
	content []byte
	kind    string
	tag     string // ETag: files change with the program, under the same names
}

func newFile(content []byte, kind string) file {
	sum := sha256.Sum256(content)
	return file{content, kind, `"` + hex.EncodeToString(sum[:8]) + `"`}
}

// pages serves the assets, the help, and one page as "/".
func pages(page string) http.Handler {
	files := readAssets()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/console/")
		if r.URL.Path == "/" {
			name = page
		}
		f, known := files[name]
		if !known && strings.HasPrefix(name, helpPath) {
			f, known = help()[name]
		}
		if !known || strings.HasSuffix(name, ".html") && r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		h.Set("Content-Type", f.kind)
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-cache") // ask, and get 304
		h.Set("ETag", f.tag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.content))
	})
}

func readAssets() map[string]file {
	files := make(map[string]file)
	err := fs.WalkDir(assets, "assets", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := assets.ReadFile(name)
		if err != nil {
			return err
		}
		files[strings.TrimPrefix(name, "assets/")] = newFile(content, kindOf(name))
		return nil
	})
	if err != nil {
		panic("read embedded files: " + err.Error()) // they are part of the program
	}
	return files
}

// kindOf does not go by the host's table of types, which may be missing.
func kindOf(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".yaml":
		return "text/plain; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return mime.TypeByExtension(path.Ext(name))
}
