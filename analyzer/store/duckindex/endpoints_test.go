package duckindex

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-capture/weir/analyzer/store/endpoint"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/internal/vfs"
)

// TestEndpointsFold: rows have the templates that they would have if they were
// all indexed now, after folds, after rules, after another start, and in an
// index that is made again.
func TestEndpointsFold(t *testing.T) {
	base := t.TempDir()
	dir, err := vfs.Dir(base)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	opt := Options{Dir: filepath.Join(base, "index"), Store: "a", End: 1 << 40}
	start := func() *Index {
		t.Helper()
		if opt.Endpoints, err = endpoint.Open(dir); err != nil {
			t.Fatal(err)
		}
		x, log := open1(t, opt)
		if log != "" {
			t.Fatal(log)
		}
		return x
	}
	var all []index.Row
	insert := func(x *Index, rows ...index.Row) {
		t.Helper()
		if err := x.Insert(t.Context(), rows, uint64(len(all)+len(rows))*10); err != nil {
			t.Fatal(err)
		}
	}
	row := func(path string, status int32) index.Row {
		n := len(all)
		all = append(all, index.Row{Off: uint64(n) * 10, Time: int64(n), App: "shop", Method: "GET", Path: path, Status: status, Endpoint: path})
		return all[n]
	}
	counts := func(x *Index) string {
		t.Helper()
		e, err := x.Endpoints(t.Context(), index.Endpoints{Sum: index.Sum{Selection: everything()}})
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, s := range e.Endpoints {
			fmt.Fprintf(&b, "%s=%d ", s.Endpoint, s.Pairs)
		}
		return b.String()
	}
	x := start()
	var rows []index.Row
	for i := range 60 {
		rows = append(rows, row(fmt.Sprintf("/users/w%c%c/orders", 'a'+i/26, 'a'+i%26), 200))
	}
	insert(x, rows...)
	if e := counts(x); strings.Contains(e, "{id}") {
		t.Errorf("folded too soon: %s", e)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	x = start() // it has to know the sixty
	insert(x, row("/users/17/orders", 200), row("/users/nobody/orders", 404))
	for i := range 60 {
		insert(x, row(fmt.Sprintf("/users/x%c%c/orders", 'a'+i/26, 'a'+i%26), 200))
	}
	want := "/users/{id}/orders=121 /users/nobody/orders=1 "
	if got := counts(x); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	rules, err := endpoint.ParseRules(strings.NewReader("shop /users/{user}/orders"))
	if err != nil {
		t.Fatal(err)
	}
	opt.Endpoints.SetRules(rules)
	insert(x)
	want = "/users/{user}/orders=122 "
	if got := counts(x); got != want {
		t.Errorf("with a rule: got %s, want %s", got, want)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	// The first half is gone, as by retention; the rest alone would not fold.
	opt.Dir += "2"
	x = start()
	insert(x, all[70:]...)
	if got, want := counts(x), fmt.Sprintf("/users/{id}/orders=%d ", len(all)-70); got != want {
		t.Errorf("made again: got %s, want %s", got, want)
	}
}

// TestEndpointsAreKeptFirst: where folds cannot be made durable no row has
// them; later they are, and the rows with them.
func TestEndpointsAreKeptFirst(t *testing.T) {
	base := t.TempDir()
	real, err := vfs.Dir(base)
	if err != nil {
		t.Fatal(err)
	}
	defer real.Close()
	dir := &failingDir{FS: real}
	templates, err := endpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	x, _ := open1(t, Options{Dir: filepath.Join(base, "index"), Store: "a", Endpoints: templates})
	var rows []index.Row
	for i := range 150 {
		rows = append(rows, index.Row{Off: uint64(i), App: "a", Method: "GET", Path: fmt.Sprintf("/w%c%c", 'a'+i/26, 'a'+i%26)})
	}
	dir.fail = true
	if err := x.Insert(t.Context(), rows, 200); !errors.Is(err, errFails) || errors.Is(err, index.ErrBroken) {
		t.Fatalf("got %v", err)
	}
	if s, err := x.Stats(t.Context()); err != nil || s.Rows != 0 || x.Watermark() != 0 {
		t.Errorf("%+v, watermark %d, %v", s, x.Watermark(), err)
	}
	dir.fail = false
	if err := x.Insert(t.Context(), rows, 200); err != nil {
		t.Fatal(err)
	}
	e, err := x.Endpoints(t.Context(), index.Endpoints{Sum: index.Sum{Selection: everything()}})
	if err != nil || len(e.Endpoints) != 1 || e.Endpoints[0].Endpoint != "/{id}" {
		t.Errorf("%+v, %v", e, err)
	}
	if again, err := endpoint.Open(real); err != nil || len(again.Folds()) != 1 {
		t.Errorf("%v, %v", again.Folds(), err)
	}
}

var errFails = errors.New("disk fails")

type failingDir struct {
	vfs.FS
	fail bool
}

func (d *failingDir) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	if d.fail {
		return nil, errFails
	}
	return d.FS.OpenFile(name, flag, perm)
}
