package endpoint

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func get(path string) Request { return Request{App: "shop", Method: "GET", Path: path} }

func TestFolds(t *testing.T) {
	x := NewTemplates(nil)
	for i := range maxValues {
		if f := x.Learn(get(fmt.Sprintf("/users/name%c%c/orders", 'a'+i/26, 'a'+i%26))); f != nil {
			t.Fatalf("%d: folds %v", i, f)
		}
	}
	for range 3 { // what is known already is not another
		x.Learn(get("/users/nameab/orders"))
		x.Learn(get("/users/17/orders"))
	}
	if got := x.Of(get("/users/nameab/orders")); got != "/users/nameab/orders" {
		t.Errorf("before: %s", got)
	}
	folds := x.Learn(get("/users/zoe/profile"))
	if want := []Fold{{App: "shop", Method: "GET", Prefix: "/users/"}}; !slices.Equal(folds, want) {
		t.Errorf("folds %v, want %v", folds, want)
	}
	for path, want := range map[string]string{
		"/users/nameab/orders": "/users/{id}/orders", "/users/nobody/orders": "/users/{id}/orders", "/users/17": "/users/{id}",
		"/users/": "/users/", "/users": "/users", "/users/x/": "/users/{id}/", "/other/nameab": "/other/nameab", "*": "*", "": "",
	} {
		if got := x.Of(get(path)); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	if got := x.Of(Request{App: "shop", Method: "POST", Path: "/users/zoe"}); got != "/users/zoe" {
		t.Errorf("of another method: %s", got)
	}
	var none *Templates
	if got := none.Of(get("/users/17")); got != "/users/{id}" {
		t.Errorf("without any: %s", got)
	}
}

// TestNotFoundFoldsNothing: who tries names folds no endpoint that there is.
func TestNotFoundFoldsNothing(t *testing.T) {
	x := NewTemplates(nil)
	x.Learn(get("/api/users"))
	for i := range 10 * maxValues {
		x.Learn(Request{App: "shop", Method: "GET", Path: fmt.Sprintf("/api/try%c%c%c", 'a'+i/676, 'a'+i/26%26, 'a'+i%26), NotFound: true})
	}
	if got := x.Of(get("/api/users")); got != "/api/users" {
		t.Errorf("got %s", got)
	}
	if got := x.Of(Request{App: "shop", Method: "GET", Path: "/api/tryaaa", NotFound: true}); got != "/api/{id}" {
		t.Errorf("got %s", got)
	}
}

// TestFewTemplates: however many paths there are.
func TestFewTemplates(t *testing.T) {
	x := NewTemplates(nil)
	r := rand.New(rand.NewPCG(1, 1))
	word := func() string {
		b := make([]byte, 5)
		for i := range b {
			b[i] = byte('a' + r.IntN(26))
		}
		return string(b)
	}
	var paths []string
	for range 60_000 {
		p := ""
		for range 1 + r.IntN(5) {
			p += "/" + word()
		}
		paths = append(paths, p)
		x.Learn(get(p))
	}
	set := map[string]bool{}
	for _, p := range paths {
		set[x.Of(get(p))] = true
	}
	if len(set) > maxNodes {
		t.Errorf("%d templates", len(set))
	}
	if n := x.trees[treeKey{"shop", "GET", false}].nodes; n > 2*maxNodes {
		t.Errorf("%d nodes", n)
	}
}

// TestOrderDoesNotMatter: the same requests in another order, and again with
// what was folded before, give the same templates; a template is its own.
func TestOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		// Few shapes with many values each, so that places fold within each other.
		var paths []string
		for range rapid.IntRange(1, 1500).Draw(t, "n") {
			p := fmt.Sprintf("/%c", 'a'+r.IntN(2))
			for range r.IntN(3) {
				p += fmt.Sprintf("/w%c%c", 'a'+r.IntN(12), 'a'+r.IntN(12))
			}
			paths = append(paths, p)
		}
		x := NewTemplates(nil)
		for _, p := range paths {
			x.Learn(get(p))
		}
		var lines []Fold
		for _, f := range x.Folds() {
			again, err := ParseFold(f.String())
			if err != nil || again != f {
				t.Fatalf("%s: %v, %v", f, again, err)
			}
			lines = append(lines, again)
		}
		y, z := NewTemplates(nil), NewTemplates(lines)
		r.Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
		for _, p := range paths {
			y.Learn(get(p))
			z.Learn(get(p))
		}
		for _, p := range paths {
			want := x.Of(get(p))
			if a, b, c := y.Of(get(p)), z.Of(get(p)), x.Of(get(want)); a != want || b != want || c != want {
				t.Fatalf("%s: %s, in another order %s, with folds %s, again %s", p, want, a, b, c)
			}
		}
	})
}

func TestRules(t *testing.T) {
	rules, err := ParseRules(strings.NewReader("# a comment\n\nshop /users/{user}/orders/{order}\n* /users/me\nshop\t/files/{name}\n"))
	if err != nil {
		t.Fatal(err)
	}
	x := NewTemplates(nil)
	x.SetRules(rules)
	for path, want := range map[string]string{
		"/users/17/orders/x": "/users/{user}/orders/{order}", "/users/me": "/users/me", "/users/17": "/users/{id}",
		"/files/report": "/files/{name}", "/files/": "/files/", "/files/a/b": "/files/a/b", "/users/17/orders/x/": "/users/{id}/orders/x/",
		"/files/{name}": "/files/{name}",
	} {
		if got := x.Of(get(path)); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	if got := x.Of(Request{App: "other", Path: "/files/report"}); got != "/files/report" {
		t.Errorf("of another app: %s", got)
	}
	for text, want := range map[string]string{
		"shop":                               "line 1: 1 words",
		"shop /a b":                          "line 1: 3 words",
		"shop /a\nshop b":                    "line 2: template \"b\" does not begin with a slash",
		"shop /a/x{id}":                      "line 1: segment \"x{id}\"",
		"shop /a/{}":                         "line 1: segment \"{}\"",
		"shop /" + strings.Repeat("x", 5000): "line 1: ",
	} {
		if _, err := ParseRules(strings.NewReader(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.40q: %v, want %s", text, err, want)
		}
	}
}

func FuzzRules(f *testing.F) {
	f.Add("shop /users/{id}\n* /x", "/users/1")
	f.Fuzz(func(t *testing.T, text, path string) {
		rules, err := ParseRules(strings.NewReader(text))
		if err != nil {
			return
		}
		var lines strings.Builder
		for _, r := range rules {
			fmt.Fprintln(&lines, r.App, r.Template)
			r.fits(r.App, path)
			if strings.HasPrefix(r.App, "#") || !r.fits(r.App, r.Template) && !strings.Contains(r.Template, "//") {
				t.Errorf("%+v does not fit itself", r)
			}
		}
		again, err := ParseRules(strings.NewReader(lines.String()))
		if err != nil || !reflect.DeepEqual(again, rules) {
			t.Errorf("%q is read as %v, then %v: %v", text, rules, again, err)
		}
	})
}

// TestWatchRules: rules that are read again when their file changes; a bad file
// changes nothing and says where it is bad.
func TestWatchRules(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("shop /a/{x}\n")
	x := NewTemplates(nil)
	var mu sync.Mutex
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(lockedWriter{&mu, &log}, nil))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- x.WatchRules(ctx, path, time.Millisecond, logger) }()
	until := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: template %s, log %s", what, x.Of(get("/a/b")), log.String())
			}
		}
	}
	until("read at first", func() bool { return x.Of(get("/a/b")) == "/a/{x}" })
	write("shop /a/{y}\nbad\n")
	until("bad", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return strings.Contains(log.String(), "line 2: 1 words")
	})
	if got := x.Of(get("/a/b")); got != "/a/{x}" {
		t.Errorf("with a bad file: %s", got)
	}
	write("shop /a/{good}\n")
	until("mended", func() bool { return x.Of(get("/a/b")) == "/a/{good}" })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}
