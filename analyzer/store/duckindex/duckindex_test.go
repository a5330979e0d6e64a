package duckindex

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/query"
	"github.com/weir-capture/weir/query/querytest"
)

func open1(t *testing.T, opt Options) (*Index, string) {
	t.Helper()
	var log bytes.Buffer
	x, err := Open(t.Context(), opt, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	return x, log.String()
}

func everything() index.Selection {
	return index.Selection{To: math.MaxInt64, Below: math.MaxInt64}
}

func rows(t *testing.T, x *Index) []index.Row {
	t.Helper()
	got, err := x.Rows(t.Context(), index.Page{Selection: everything(), Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestReopened(t *testing.T) {
	opt := Options{Dir: filepath.Join(t.TempDir(), "index"), Store: "a", End: 1000}
	row := index.Row{ID: store.ID{6: 0x70, 15: 1}, Off: 10, Idx: 3, At: 5, Time: 7, Duration: -1, TTFB: -1, Path: "/x", Conn: math.MaxInt64, Flags: 1 << 9, Weight: math.MaxUint32}
	fill := func() {
		x, _ := open1(t, opt)
		if err := x.Insert(t.Context(), []index.Row{row}, 900); err != nil {
			t.Fatal(err)
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
	fill()
	x, log := open1(t, opt)
	if got := rows(t, x); len(got) != 1 || got[0] != row || x.Watermark() != 900 || log != "" {
		t.Errorf("got %+v, watermark %d, log %q", got, x.Watermark(), log)
	}
	where := index.Row{ID: row.ID, Off: row.Off, Idx: row.Idx, At: row.At, Time: row.Time}
	if got, err := x.Find(t.Context(), row.ID); err != nil || got != where {
		t.Errorf("found %+v, %v", got, err)
	}
	if s, err := x.Stats(t.Context()); err != nil || s != (index.Stats{Rows: 1, Oldest: 7, Newest: 7}) {
		t.Errorf("stats %+v, %v", s, err)
	}
	if _, err := x.writer.ExecContext(t.Context(), "UPDATE state SET version = version + 1"); err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}

	// Of no use: begun anew, and said why.
	for _, c := range []struct {
		why   string
		spoil func(*Options)
	}{
		{"version", func(*Options) {}},
		{"is of store a", func(o *Options) { o.Store = "b" }},
		{"the log to 899", func(o *Options) { o.End = 899 }},
		{"not a valid DuckDB", func(o *Options) {
			file, err := take(o.Dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, bytes.Repeat([]byte("x"), 9000), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		o := opt
		c.spoil(&o)
		x, log := open1(t, o)
		if got := rows(t, x); len(got) != 0 || x.Watermark() != 0 || !strings.Contains(log, c.why) {
			t.Errorf("%s: %d rows, watermark %d, log %q", c.why, len(got), x.Watermark(), log)
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(opt.Dir); err != nil {
			t.Fatal(err)
		}
		fill()
	}
}

// TestOddDirectories: DuckDB, or its driver, reads some characters of a path as
// something else.
func TestOddDirectories(t *testing.T) {
	opt := Options{Dir: filepath.Join(t.TempDir(), `a=c#d%20e%zz'f"g;h i`, "index"), Store: "a", End: 1000}
	for n := range uint64(3) {
		x, log := open1(t, opt)
		if got := rows(t, x); uint64(len(got)) != n || log != "" {
			t.Fatalf("%d rows, log %q", len(got), log)
		}
		if err := x.Insert(t.Context(), []index.Row{{Off: 10*n + 1}}, 10*n+10); err != nil {
			t.Fatal(err)
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(t.Context(), Options{Dir: filepath.Join(t.TempDir(), "a?b")}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("opened under a name with a question mark")
	}
	if files, err := os.ReadDir(opt.Dir); err != nil || len(files) > 2 {
		t.Errorf("%v, %v", files, err)
	}
}

func TestRowsAndWatermarkTogether(t *testing.T) {
	x, _ := open1(t, Options{Dir: filepath.Join(t.TempDir(), "index"), Store: "a"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := x.Insert(ctx, []index.Row{{Off: 1}}, 50); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	// What the transaction began is undone, and the next one works.
	if err := x.Insert(t.Context(), []index.Row{{Off: 1, Path: "\xff is no UTF-8"}}, 50); err == nil {
		t.Error("text that is none was taken")
	}
	if got := rows(t, x); len(got) != 0 || x.Watermark() != 0 {
		t.Errorf("%d rows, watermark %d", len(got), x.Watermark())
	}
	if err := x.Insert(t.Context(), []index.Row{{Off: 1}, {Off: 7}, {Off: 9}}, 50); err != nil {
		t.Fatal(err)
	}
	// Not on top of a state that this program does not know of.
	x.watermark.Store(40)
	if err := x.Insert(t.Context(), []index.Row{{Off: 60}}, 70); !errors.Is(err, index.ErrBroken) {
		t.Errorf("watermark that moved: %v", err)
	}
	x.watermark.Store(50)
	if err := x.Remove(t.Context(), 0, 7); err != nil {
		t.Fatal(err)
	}
	if got := rows(t, x); len(got) != 2 || x.Watermark() != 50 {
		t.Errorf("%d rows, watermark %d", len(got), x.Watermark())
	}
}

func TestShutIn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file.csv")
	if err := os.WriteFile(file, []byte("a,b\n1,2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	x, _ := open1(t, Options{Dir: filepath.Join(t.TempDir(), "index"), Store: "a"})
	for _, stmt := range []string{
		"SELECT * FROM read_csv('" + file + "')",
		"COPY pairs TO '" + file + "2'",
		"ATTACH '" + file + "3'",
		"INSTALL httpfs",
		"LOAD httpfs",
		"SET enable_external_access = true",
		"SET memory_limit = '100GB'",
	} {
		if _, err := x.db.ExecContext(t.Context(), stmt); err == nil {
			t.Errorf("%s: worked", stmt)
		}
	}
	var limit string
	var threads int
	if err := x.db.QueryRowContext(t.Context(), "SELECT current_setting('memory_limit'), current_setting('threads')").Scan(&limit, &threads); err != nil || threads != 2 || !strings.HasPrefix(limit, "122.0") {
		t.Errorf("memory_limit %s, threads %d, %v", limit, threads, err)
	}
}

func TestCancelledQuery(t *testing.T) {
	x, _ := open1(t, Options{Dir: filepath.Join(t.TempDir(), "index"), Store: "a"})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	started := time.Now()
	_, err := x.query(ctx, 1, "SELECT CAST(hash(a.range, b.range) AS VARCHAR) FROM range(1000000) a, range(1000000) b ORDER BY 1 LIMIT 1")
	if took := time.Since(started); !errors.Is(err, context.DeadlineExceeded) || took > 230*time.Millisecond {
		t.Errorf("after %v: %v", took, err)
	}
}

// No text of a query becomes SQL, and what DuckDB is given it takes.
func TestQueriesAreParameters(t *testing.T) {
	x, _ := open1(t, Options{Dir: filepath.Join(t.TempDir(), "index"), Store: "a"})
	if err := x.Insert(t.Context(), []index.Row{{Off: 1, Path: "/a"}}, 5); err != nil {
		t.Fatal(err)
	}
	const mark = "zq9'\";--x"
	texts := []string{
		`path:"` + mark + `"`, `path:*zq9*`, `host:"` + mark + `"`, `query:"` + mark + `"`, `error:"` + mark + `"`,
		`tag."` + mark + `":x`, `header.x:"` + mark + `"`, `"` + mark + `"`, `client:"` + mark + `"`, `id:01997b2c*`,
	}
	gen := querytest.QueryText()
	for n := range 300 {
		texts = append(texts, gen.Example(n))
	}
	for _, src := range texts {
		src = strings.ReplaceAll(src, mark, strings.ReplaceAll(mark, `"`, `\"`))
		q, err := query.Parse(src)
		if err != nil {
			t.Fatalf("%s: %v", src, err)
		}
		f := compile(q)
		if strings.Contains(f.sql, "zq9") || strings.Count(f.sql, "?") != len(f.args) {
			t.Errorf("%s: %s with %v", src, f.sql, f.args)
		}
		s := everything()
		s.Query = q
		if _, err := x.Rows(t.Context(), index.Page{Selection: s, Limit: 10}); err != nil {
			t.Errorf("%s: %s: %v", src, f.sql, err)
		}
	}
}

func TestExactness(t *testing.T) {
	for src, want := range map[string]bool{
		"": true, "status:5xx": true, "-status:5xx app:a*": true, "flag:t*": true, "direction:/in/": true, `error:"x y"`: true,
		"id:01997b2c-6d3f-7c44-9d6e-2f6a31c0b8aa": true, "host:a OR path:/b": true,
		"body:x": false, "x": false, "header.a:b": false, "tag.a:b": false, "path:/re/": false, "query:word": false, "status:5xx OR json.a:1": false,
	} {
		q, err := query.Parse(src)
		if err != nil {
			t.Fatal(err)
		}
		if f := compile(q); f.exact != want {
			t.Errorf("%q: exact is %v: %s", src, f.exact, f.sql)
		}
	}
}

// TestOpenedAgainAfterCancelling: what a cancelled statement leaves behind in
// DuckDB keeps nobody from opening the index again in the same process.
func TestOpenedAgainAfterCancelling(t *testing.T) {
	opt := Options{Dir: filepath.Join(t.TempDir(), "index"), Store: "a"}
	for i := range 12 {
		began, cancelBegan := context.WithTimeout(t.Context(), time.Duration(i)*2*time.Millisecond)
		x, err := Open(began, opt, slog.New(slog.DiscardHandler))
		if err == nil {
			err = x.Close()
		} else if began.Err() != nil {
			err = nil // that is why
		}
		cancelBegan()
		if err != nil {
			t.Fatal(err)
		}
		if x, err = Open(t.Context(), opt, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			rows, err := x.db.QueryContext(ctx, "SELECT sum(a.range * b.range) FROM range(3000) a, range(3000) b")
			if err == nil {
				for rows.Next() {
				}
				_ = rows.Close()
			}
			cancel()
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
