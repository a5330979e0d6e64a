package analyzer

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	_ "github.com/duckdb/duckdb-go/v2"
	"google.golang.org/protobuf/proto"

	"github.com/weir-capture/weir/analyzer/store/storetest"
	"github.com/weir-capture/weir/client"
	"github.com/weir-capture/weir/interchange"
	"github.com/weir-capture/weir/internal/statedir"
)

// running is an analyzer with its control socket, until the test ends.
func running(t *testing.T, change ...func(*Config)) *client.Client {
	t.Helper()
	cfg := config(t)
	for _, c := range change {
		c(&cfg)
	}
	a, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	name := filepath.Join(cfg.DataDir, statedir.ControlSocket)
	if st, err := os.Stat(name); err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("control socket: %v %v", st, err)
	}
	api, err := client.New("unix:" + name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		api.Close()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(name); !os.IsNotExist(err) {
			t.Errorf("the control socket stays: %v", err)
		}
	})
	return api
}

// TestImportedPairsAreStoredPairs: through the whole analyzer, by its socket.
// They are listed, counted, in the ledger, and exported as they came.
func TestImportedPairsAreStoredPairs(t *testing.T) {
	const n = 300
	var file bytes.Buffer
	w, err := interchange.NewWriter(interchange.JSONL, &file, "v1")
	if err != nil {
		t.Fatal(err)
	}
	pairs := storetest.Pairs(0, n)
	for _, p := range pairs {
		if err := w.Write(interchange.Pair{RRPair: p}); err != nil {
			t.Fatal(err)
		}
	}
	api := running(t)
	for range 2 {
		out, err := api.Import(t.Context(), "jsonl", "", bytes.NewReader(file.Bytes()))
		if err != nil || out.Stored+out.Known != n || out.Rejected != 0 {
			t.Fatalf("%+v %v", out, err)
		}
	}
	count := 0
	for _, err := range api.Pairs(t.Context(), client.List{}) {
		if err != nil {
			t.Fatal(err)
		}
		count++
	}
	l, err := api.Ledger(t.Context(), client.LedgerAsk{})
	if err != nil || count != n || !l.Holds || l.Total.Stored != n || l.Total.Seen != n || len(l.Apps) != 1 || l.Apps[0].App != "imported" {
		t.Errorf("%d listed; ledger %+v %v", count, l.Total, err)
	}
	var back bytes.Buffer
	exported, err := api.Export(t.Context(), client.Select{}, "jsonl", &back)
	if err != nil || exported.Pairs != n {
		t.Fatalf("%+v %v", exported, err)
	}
	i := 0
	for p, err := range interchange.Read(interchange.JSONL, &back, interchange.Limits{}) {
		if err != nil || !proto.Equal(p, pairs[i]) {
			t.Fatalf("pair %d: %v\n got %v\nwant %v", i, err, p, pairs[i])
		}
		i++
	}

	// Another analyzer makes the same file of a file.
	var har, again bytes.Buffer
	if _, err := api.Export(t.Context(), client.Select{}, "har", &har); err != nil {
		t.Fatal(err)
	}
	other := running(t)
	if out, err := other.Import(t.Context(), "har", "", bytes.NewReader(har.Bytes())); err != nil || out.Rejected != 0 {
		t.Fatalf("%+v %v", out, err)
	}
	if _, err := other.Export(t.Context(), client.Select{}, "har", &again); err != nil || !bytes.Equal(har.Bytes(), again.Bytes()) {
		t.Errorf("export, import, export is another file: %v", err)
	}
	parquetTypes(t, api)
}

// parquetTypes lets DuckDB read the file, and holds columns to their types.
func parquetTypes(t *testing.T, api *client.Client) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "pairs.parquet")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	exported, err := api.Export(t.Context(), client.Select{}, "parquet", f)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), fmt.Sprintf("SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM '%s')", name))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	got := map[string]string{}
	for rows.Next() {
		var column, kind string
		if err := rows.Scan(&column, &kind); err != nil {
			t.Fatal(err)
		}
		got[column] = kind
	}
	for column, kind := range map[string]string{
		"id": "UUID", "time": "TIMESTAMP_NS", "response_last": "TIMESTAMP_NS", "app": "VARCHAR", "status": "INTEGER", "conn": "UBIGINT", "duration_ns": "BIGINT",
		"request_size": "UBIGINT", "request_head": "BLOB", "response_body": "BLOB", "flags": "VARCHAR[]", "tags": "MAP(VARCHAR, VARCHAR)", "sample_weight": "UINTEGER",
	} {
		if got[column] != kind {
			t.Errorf("column %s is %s, want %s", column, got[column], kind)
		}
	}
	var n uint64
	if err := db.QueryRowContext(t.Context(), fmt.Sprintf("SELECT count(*) FROM '%s' WHERE octet_length(request_head) >= 0", name)).Scan(&n); err != nil {
		t.Fatal(err)
	}
	if n != exported.Pairs {
		t.Errorf("%d rows, want %d", n, exported.Pairs)
	}
}

// TestBackupByTheAPI: what comes out of a running analyzer is one.
func TestBackupByTheAPI(t *testing.T) {
	api := running(t)
	pair := storetest.Pairs(0, 1)[0]
	var file bytes.Buffer
	w, err := interchange.NewWriter(interchange.JSONL, &file, "v1")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(interchange.Pair{RRPair: pair}); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Import(t.Context(), "jsonl", "", &file); err != nil {
		t.Fatal(err)
	}
	var tar bytes.Buffer
	if err := api.Backup(t.Context(), &tar); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "restored")
	if err := Restore(t.Context(), dir, &tar); err != nil {
		t.Fatal(err)
	}
	r, err := Verify(t.Context(), dir, nil)
	if err != nil || !r.OK() || r.Pairs != 1 {
		t.Errorf("%+v %v", r, err)
	}
}

// TestEndpointRules: the file that corrects templates holds for lists, whole
// pairs, sums and queries alike.
func TestEndpointRules(t *testing.T) {
	rules := filepath.Join(t.TempDir(), "endpoints.rules")
	if err := os.WriteFile(rules, []byte("# ours\nshelf /books/{title}/pages\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	api := running(t, func(c *Config) { c.EndpointRules = rules })
	pair := storetest.Pairs(0, 1)[0]
	pair.Source.App, pair.Path = "shelf", "/books/moby-dick/pages"
	var file bytes.Buffer
	w, err := interchange.NewWriter(interchange.JSONL, &file, "v1")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(interchange.Pair{RRPair: pair}); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Import(t.Context(), "jsonl", "", &file); err != nil {
		t.Fatal(err)
	}
	const want = "/books/{title}/pages"
	page, err := api.Page(t.Context(), client.List{Query: `endpoint:"` + want + `"`}, "")
	if err != nil || len(page.Pairs) != 1 || page.Pairs[0].Endpoint != want {
		t.Fatalf("%+v %v", page, err)
	}
	whole, err := api.Pair(t.Context(), page.Pairs[0].ID)
	if err != nil || whole.Endpoint != want {
		t.Errorf("%+v %v", whole, err)
	}
	sums, err := api.Endpoints(t.Context(), client.Select{}, 0)
	if err != nil || len(sums.Endpoints) != 1 || sums.Endpoints[0].Endpoint != want {
		t.Errorf("%+v %v", sums, err)
	}
}
