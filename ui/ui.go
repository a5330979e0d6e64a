// Package ui holds the viewer: a browser application in TypeScript (src/),
// and this file, which embeds what the build made of it and serves it. It
// knows nothing of the API that the application talks to.
//
// Without a build (a clean clone, no Node) the package still compiles, and
// serves a page that says how to get the viewer.
package ui

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// dist has only .gitkeep until the viewer is built; "all:" takes it along, so
// that the pattern always matches something.
//
//go:embed all:dist
var built embed.FS

//go:embed placeholder.html
var placeholder []byte

// policy is the Content-Security-Policy of every page. Nothing is inline and
// nothing comes from elsewhere. Images may be data: URLs because a captured
// picture is previewed as one; in an <img> no picture can run a script. Styles
// need no exception: the application sets styles through the DOM, and the code
// view lives in a shadow root with constructed sheets. The one policy of
// trusted types names the address of the one worker. What is refused all the
// same is reported to the server that mounts this, which names the group weir.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; font-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'; " +
	"require-trusted-types-for 'script'; trusted-types weir-worker; report-uri /api/v1/csp-report; report-to weir"

// Handler serves the viewer: its assets under /assets, and its one page for
// every other path, so that links into the application work. Paths under
// /api answer 404 here; they belong to the server that mounts this.
// Only GET and HEAD are served.
func Handler(log *slog.Logger) http.Handler {
	dist, err := fs.Sub(built, "dist")
	if err != nil {
		// Only an invalid constant above could cause it.
		panic(fmt.Sprintf("open embedded viewer: %v", err))
	}
	h, err := newHandler(dist)
	if err != nil {
		log.Warn("The viewer is not in this build; serving a page that says so", "error", err)
		return &handler{page: placeholder}
	}
	return h
}

type handler struct {
	page   []byte            // index.html, or the placeholder
	assets map[string]*asset // by name below /assets/
}

// asset is one file of the build with its compressed twins, which may be nil.
type asset struct {
	contentType   string
	plain, gz, br []byte
}

var errNoBuild = errors.New("no built viewer found")

// newHandler reads a build once: all of it is in the binary anyway, and a
// table of what exists leaves no path to be walked by a request.
func newHandler(dist fs.FS) (*handler, error) {
	page, err := fs.ReadFile(dist, "index.html")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoBuild
	}
	if err != nil {
		return nil, fmt.Errorf("read index.html: %w", err)
	}
	h := &handler{page: page, assets: map[string]*asset{}}
	files, err := fs.ReadDir(dist, "assets")
	if err != nil {
		return nil, fmt.Errorf("list assets: %w", err)
	}
	for _, f := range files {
		body, err := fs.ReadFile(dist, path.Join("assets", f.Name()))
		if err != nil {
			return nil, fmt.Errorf("read asset: %w", err)
		}
		name, coding := f.Name(), ""
		for _, suffix := range []string{".gz", ".br"} {
			if rest, ok := strings.CutSuffix(name, suffix); ok {
				name, coding = rest, suffix
			}
		}
		a := h.assets[name]
		if a == nil {
			a = &asset{contentType: contentType(name)}
			h.assets[name] = a
		}
		switch coding {
		case ".gz":
			a.gz = body
		case ".br":
			a.br = body
		default:
			a.plain = body
		}
	}
	for name, a := range h.assets {
		if a.plain == nil {
			return nil, fmt.Errorf("asset %s exists only compressed", name)
		}
	}
	return h, nil
}

// contentType does not ask the system's table alone: what it says about .js
// differs between machines, and with nosniff a wrong answer is a blank page.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	if t := mime.TypeByExtension(path.Ext(name)); t != "" {
		return t
	}
	return "application/octet-stream"
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Content-Security-Policy", policy)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "The viewer answers GET and HEAD only.", http.StatusMethodNotAllowed)
		return
	}
	switch p := r.URL.Path; {
	case p == "/api" || strings.HasPrefix(p, "/api/"):
		http.NotFound(w, r)
	case p == "/assets" || strings.HasPrefix(p, "/assets/"):
		h.serveAsset(w, r, strings.TrimPrefix(p, "/assets/"))
	default:
		h.servePage(w, r)
	}
}

func (h *handler) serveAsset(w http.ResponseWriter, r *http.Request, name string) {
	a := h.assets[name]
	if a == nil {
		// Not the page: a browser that asks for a script of an older build
		// must see that it is gone, not run HTML.
		http.NotFound(w, r)
		return
	}
	header := w.Header()
	// The name carries a hash of the content.
	header.Set("Cache-Control", "public, max-age=31536000, immutable")
	header.Set("Content-Type", a.contentType)
	body := a.plain
	if a.br != nil || a.gz != nil {
		header.Set("Vary", "Accept-Encoding")
		accepted := r.Header.Values("Accept-Encoding")
		switch {
		case a.br != nil && accepts(accepted, "br"):
			header.Set("Content-Encoding", "br")
			body = a.br
		case a.gz != nil && accepts(accepted, "gzip"):
			header.Set("Content-Encoding", "gzip")
			body = a.gz
		}
	}
	write(w, r, body)
}

// servePage answers with index.html. Its links are relative ("./assets/…");
// a page n levels down needs n more steps up, also where a proxy serves the
// viewer below a path of its own.
func (h *handler) servePage(w http.ResponseWriter, r *http.Request) {
	body := h.page
	if depth := strings.Count(r.URL.Path, "/") - 1; depth > 0 {
		body = bytes.ReplaceAll(body, []byte(`="./`), []byte(`="`+strings.Repeat("../", min(depth, 32))))
	}
	sum := sha256.Sum256(body)
	etag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	header := w.Header()
	header.Set("Cache-Control", "no-cache")
	header.Set("ETag", etag)
	if matches(r.Header.Values("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Type", "text/html; charset=utf-8")
	write(w, r, body)
}

func write(w http.ResponseWriter, r *http.Request, body []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodHead {
		return
	}
	// An error here means that the client went away; nobody is left to tell.
	_, _ = w.Write(body)
}

// accepts reports whether a content coding is acceptable by the values of
// Accept-Encoding (RFC 9110, section 12.5.3): named, or covered by "*", and
// not with a weight of 0.
func accepts(values []string, coding string) bool {
	star := false
	for _, value := range values {
		for item := range strings.SplitSeq(value, ",") {
			name, params, _ := strings.Cut(item, ";")
			name = strings.TrimSpace(name)
			if name != "*" && !strings.EqualFold(name, coding) {
				continue
			}
			weight := 1.0
			if q, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(params)), "q="); ok {
				if v, err := strconv.ParseFloat(strings.TrimSpace(q), 64); err == nil {
					weight = v
				}
			}
			if name != "*" {
				return weight > 0
			}
			star = weight > 0
		}
	}
	return star
}

// matches is the weak comparison of If-None-Match (RFC 9110, section 13.1.2).
func matches(values []string, etag string) bool {
	for _, value := range values {
		for item := range strings.SplitSeq(value, ",") {
			item = strings.TrimPrefix(strings.TrimSpace(item), "W/")
			if item == etag || item == "*" {
				return true
			}
		}
	}
	return false
}
