package ui

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

func build() fstest.MapFS {
	return fstest.MapFS{
		"index.html":            {Data: []byte(`<script src="./assets/app-1.js"></script>`)},
		"assets/app-1.js":       {Data: []byte("plain")},
		"assets/app-1.js.gz":    {Data: []byte("gzipped")},
		"assets/app-1.js.br":    {Data: []byte("brotli")},
		"assets/favicon-2.svg":  {Data: []byte("<svg/>")},
		"assets/style-3.css":    {Data: []byte("a{}")},
		"assets/style-3.css.gz": {Data: []byte("gz css")},
	}
}

func serve(t *testing.T, method, target string, header ...string) *http.Response {
	t.Helper()
	h, err := newHandler(build())
	if err != nil {
		t.Fatal(err)
	}
	return ask(h, method, target, header...)
}

func ask(h http.Handler, method, target string, header ...string) *http.Response {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := b.ReadFrom(r.Body); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestPageAtAnyDepth(t *testing.T) {
	for target, want := range map[string]string{
		"/":                `src="./assets/app-1.js"`,
		"/proxies":         `src="./assets/app-1.js"`,
		"/pairs/0192-abc":  `src="../assets/app-1.js"`,
		"/pairs/x/y?row=1": `src="../../assets/app-1.js"`,
	} {
		r := serve(t, "GET", target)
		if got := body(t, r); r.StatusCode != 200 || !strings.Contains(got, want) {
			t.Errorf("GET %s: status %d, %q does not have %q", target, r.StatusCode, got, want)
		}
		if got := r.Header.Get("Content-Type"); got != "text/html; charset=utf-8" {
			t.Errorf("GET %s: Content-Type %q", target, got)
		}
	}
}

func TestPageIsRevalidated(t *testing.T) {
	r := serve(t, "GET", "/")
	etag := r.Header.Get("ETag")
	if etag == "" || r.Header.Get("Cache-Control") != "no-cache" {
		t.Fatalf("ETag %q, Cache-Control %q", etag, r.Header.Get("Cache-Control"))
	}
	for _, match := range []string{etag, "W/" + etag, `"other", ` + etag, "*"} {
		again := serve(t, "GET", "/", "If-None-Match", match)
		if again.StatusCode != http.StatusNotModified || body(t, again) != "" {
			t.Errorf("If-None-Match %s: status %d", match, again.StatusCode)
		}
	}
	// A page of another depth has other bytes, so it must have another tag.
	if other := serve(t, "GET", "/pairs/x", "If-None-Match", etag); other.StatusCode != 200 {
		t.Errorf("deeper page with the root's ETag: status %d, want 200", other.StatusCode)
	}
}

func TestAssets(t *testing.T) {
	for _, c := range []struct{ accept, coding, body string }{
		{"", "", "plain"},
		{"gzip", "gzip", "gzipped"},
		{"gzip, deflate, br, zstd", "br", "brotli"},
		{"br;q=0, gzip;q=0.5", "gzip", "gzipped"},
		{"identity", "", "plain"},
		{"*", "br", "brotli"},
		{"*;q=0", "", "plain"},
		{"br;q=0, *", "gzip", "gzipped"},
		{"BR", "br", "brotli"},
	} {
		r := serve(t, "GET", "/assets/app-1.js", "Accept-Encoding", c.accept)
		if got := body(t, r); got != c.body || r.Header.Get("Content-Encoding") != c.coding {
			t.Errorf("Accept-Encoding %q: coding %q, body %q; want %q, %q",
				c.accept, r.Header.Get("Content-Encoding"), got, c.coding, c.body)
		}
		if r.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("Accept-Encoding %q: no Vary", c.accept)
		}
		if got := r.Header.Get("Cache-Control"); got != "public, max-age=31536000, immutable" {
			t.Errorf("Cache-Control %q", got)
		}
		if got := r.Header.Get("Content-Type"); got != "text/javascript; charset=utf-8" {
			t.Errorf("Content-Type %q", got)
		}
	}
	// Where there is only gzip, brotli alone gets the plain file.
	if r := serve(t, "GET", "/assets/style-3.css", "Accept-Encoding", "br"); body(t, r) != "a{}" {
		t.Error("a coding that does not exist was served")
	}
}

func TestWhatIsNotServed(t *testing.T) {
	for _, target := range []string{
		"/api", "/api/v1/pairs", "/assets", "/assets/", "/assets/app-0.js", "/assets/app-1.js.gz", "/assets/../index.html",
	} {
		if r := serve(t, "GET", target); r.StatusCode != http.StatusNotFound {
			t.Errorf("GET %s: status %d, want 404", target, r.StatusCode)
		}
	}
	if r := serve(t, "POST", "/"); r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST /: status %d, Allow %q", r.StatusCode, r.Header.Get("Allow"))
	}
	if r := serve(t, "HEAD", "/"); r.StatusCode != 200 || body(t, r) != "" || r.ContentLength <= 0 {
		t.Errorf("HEAD /: status %d, length %d", r.StatusCode, r.ContentLength)
	}
}

func TestSecurityHeaders(t *testing.T) {
	for _, target := range []string{"/", "/pairs/x", "/assets/app-1.js", "/assets/none", "/api/none"} {
		r := serve(t, "GET", target)
		for name, want := range map[string]string{
			"X-Content-Type-Options":  "nosniff",
			"Referrer-Policy":         "no-referrer",
			"X-Frame-Options":         "DENY",
			"Content-Security-Policy": policy,
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("GET %s: %s is %q, want %q", target, name, got, want)
			}
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Error("the policy allows something unsafe")
	}
}

func TestWithoutBuild(t *testing.T) {
	for _, dist := range []fstest.MapFS{{".gitkeep": {}}, {}} {
		if _, err := newHandler(dist); err == nil {
			t.Error("a build without index.html was accepted")
		}
	}
	if _, err := newHandler(fstest.MapFS{"index.html": {}, "assets/a.js.gz": {}}); err == nil {
		t.Error("an asset that exists only compressed was accepted")
	}
	h := &handler{page: placeholder}
	r := ask(h, "GET", "/proxies")
	if got := body(t, r); r.StatusCode != 200 || !strings.Contains(got, "make ui") {
		t.Errorf("placeholder: status %d, %q", r.StatusCode, got)
	}
	if r := ask(h, "GET", "/assets/app-1.js"); r.StatusCode != http.StatusNotFound {
		t.Errorf("asset without a build: status %d", r.StatusCode)
	}
}

// TestHandler serves whatever this binary was built with: the viewer or the
// placeholder. Either is a page, and a warning says when it is the latter.
func TestHandler(t *testing.T) {
	var logged bytes.Buffer
	h := Handler(slog.New(slog.NewTextHandler(&logged, nil)))
	page := body(t, ask(h, "GET", "/"))
	if !strings.Contains(page, "<!doctype html>") {
		t.Errorf("page is %q", page)
	}
	if isPlaceholder := page == string(placeholder); isPlaceholder != strings.Contains(logged.String(), "not in this build") {
		t.Errorf("placeholder %v, log %q", isPlaceholder, logged.String())
	}
}
