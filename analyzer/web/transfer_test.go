package web

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	"github.com/weir-capture/weir/analyzer/importer"
	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/memstore"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/interchange"
)

// held is a store in memory with pairs in it.
func held(t testing.TB, pairs ...*capturev1.RRPair) *memstore.Store {
	t.Helper()
	st := memstore.New(func() int64 { return base.Add(time.Hour).UnixNano() })
	for i := 0; i < len(pairs); i += frame.MaxPairs {
		part := pairs[i:min(i+frame.MaxPairs, len(pairs))]
		head, body, err := frame.Make(&capturev1.FrameHead{
			Source: &capturev1.Source{ProxyId: "pod-1", Epoch: make([]byte, 16)}, BatchSeq: uint64(i + 1), FirstPairSeq: uint64(i + 1), Received: uint32(len(part)),
		}, part)
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Append(t.Context(), store.ID{1}, []*capturev1.Frame{{Offset: uint64(i), NextOffset: uint64(i + 1), Head: head, Body: body}}); err != nil {
			t.Fatal(err)
		}
	}
	return st
}

func importing(st importer.Store) func(*Config, *Deps) {
	return func(_ *Config, d *Deps) { d.Importer = importer.New(st, time.Now) }
}

func some(n int) []*capturev1.RRPair {
	var out []*capturev1.RRPair
	for i := range n {
		status := int32(200)
		if i%10 == 0 {
			status = 503
		}
		p := exchange(i, "GET", fmt.Sprintf("/orders/%d", i), status, "", strings.Repeat("ok ", 50))
		p.SampleWeight = 4
		out = append(out, p)
	}
	return out
}

func send(t *testing.T, url, contentType string, body io.Reader) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, b
}

func imported(t *testing.T, b []byte) httpv1.Import {
	t.Helper()
	var out httpv1.Import
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	return out
}

// TestExportImportExport: the file of another analyzer is the same file, and
// taken twice it changes nothing.
func TestExportImportExport(t *testing.T) {
	want := some(200)
	st := held(t, want...)
	_, from := serve(t, st)
	for _, format := range []interchange.Format{interchange.JSONL, interchange.HAR} {
		resp, file := ask(t, from.Client(), "GET", from.URL+"/api/v1/export?format="+string(format))
		if resp.StatusCode != 200 || resp.Trailer.Get("Weir-Pairs") != "200" || resp.Trailer.Get("Weir-Left-Out") != "0" ||
			!strings.HasPrefix(resp.Header.Get("Content-Disposition"), "attachment; filename=weir-20261123-130000") {
			t.Fatalf("%s %v %v", resp.Status, resp.Header, resp.Trailer)
		}
		other := held(t)
		_, to := serve(t, other, importing(other))
		for n, want := range []httpv1.Import{
			{Format: string(format), Stored: 200, Complete: true}, {Format: string(format), Known: 200, Complete: true},
		} {
			resp, b := send(t, to.URL+"/api/v1/import?format="+string(format), "application/octet-stream", bytes.NewReader(file))
			if got := imported(t, b); resp.StatusCode != 200 || got.Stored != want.Stored || got.Known != want.Known || !got.Complete || len(got.Errors) > 0 {
				t.Fatalf("%s, time %d: %s %s", format, n, resp.Status, b)
			}
		}
		_, again := ask(t, to.Client(), "GET", to.URL+"/api/v1/export?format="+string(format))
		if !bytes.Equal(again, file) {
			t.Errorf("%s: export, import, export is another file", format)
		}
		for _, p := range want {
			got, err := other.Pair(t.Context(), store.ID(p.GetId()))
			if err != nil || !proto.Equal(got.Pair, p) {
				t.Fatalf("%v\n got %v\nwant %v", err, got, p)
			}
		}
	}
}

func TestExportSelects(t *testing.T) {
	tls := exchange(500, "", "", 0, "", "")
	tls.Protocol, tls.Request.Head = "tls", nil
	_, ts := serve(t, held(t, append(some(50), tls)...))
	for _, c := range []struct {
		query, pairs, left, kind string
		lines                    int
	}{
		{"format=jsonl&q=status:5xx", "5", "0", "application/x-ndjson", 5},
		{"format=jsonl&from=2026-11-23T12:00:10Z&to=2026-11-23T12:00:20Z", "10", "0", "application/x-ndjson", 10},
		{"format=curl&q=status:5xx", "5", "0", "text/plain; charset=utf-8", 15},
		{"format=rrpair", "50", "1", "application/x-ndjson", 50},
		{"", "50", "1", "application/json", 52},
		{"q=app:none", "0", "0", "application/json", 2},
		{"format=parquet", "51", "0", "application/vnd.apache.parquet", -1},
	} {
		resp, b := ask(t, ts.Client(), "GET", ts.URL+"/api/v1/export?"+c.query)
		if resp.Header.Get("Content-Type") != c.kind || resp.Trailer.Get("Weir-Pairs") != c.pairs || resp.Trailer.Get("Weir-Left-Out") != c.left {
			t.Errorf("%s: %s %v %v", c.query, resp.Status, resp.Header, resp.Trailer)
		}
		if n := bytes.Count(b, []byte{'\n'}); c.lines >= 0 && n != c.lines {
			t.Errorf("%s: %d lines, want %d\n%s", c.query, n, c.lines, b)
		}
	}
}

// failing is a store whose scan ends in an error.
type failing struct {
	*memstore.Store
	after int
	err   error
}

func (f *failing) Scan(ctx context.Context, s store.Scan) iter.Seq2[*store.Stored, error] {
	return func(yield func(*store.Stored, error) bool) {
		n := 0
		for st, err := range f.Store.Scan(ctx, s) {
			if n == f.after {
				yield(nil, f.err)
				return
			}
			n++
			if !yield(st, err) {
				return
			}
		}
	}
}

// TestExportThatFails: before the first pair it is a problem; afterwards the
// reader is told that the file is not whole, also when it is compressed.
func TestExportThatFails(t *testing.T) {
	_, ts := serve(t, &failing{Store: held(t, some(10)...), err: store.ErrNotReady})
	if resp, b := ask(t, ts.Client(), "GET", ts.URL+"/api/v1/export"); resp.StatusCode != 503 || resp.Header.Get("Content-Type") != "application/problem+json" || !bytes.Contains(b, []byte("not ready")) {
		t.Errorf("%s %v %s", resp.Status, resp.Header, b)
	}
	_, ts = serve(t, &failing{Store: held(t, some(1000)...), after: 900, err: errors.New("disk gone")})
	for _, coding := range []string{"identity", "gzip", "zstd", "br"} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", ts.URL+"/api/v1/export?format=jsonl", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept-Encoding", coding)
		resp, err := ts.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err == nil {
			t.Errorf("%s: an export that failed looks whole", coding)
		}
		resp.Body.Close()
	}
}

// TestHeadReadsNothing: who asks for headers alone does not make the analyzer
// read everything that is stored.
func TestHeadReadsNothing(t *testing.T) {
	read := false
	_, ts := serve(t, &failing{Store: held(t, some(10)...), err: errors.New("read")}, func(_ *Config, d *Deps) {
		d.Backup = func(context.Context, io.Writer) error { read = true; return nil }
	})
	for path, kind := range map[string]string{"export?format=parquet": "application/vnd.apache.parquet", "backup": "application/x-tar"} {
		resp, _ := ask(t, ts.Client(), http.MethodHead, ts.URL+"/api/v1/"+path)
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != kind || read {
			t.Errorf("%s: %s %v, read %t", path, resp.Status, resp.Header, read)
		}
	}
}

// TestExportsAreBounded, and end when their reader goes.
func TestExportsAreBounded(t *testing.T) {
	st := held(t, some(3000)...)
	s, ts := serve(t, st, func(c *Config, _ *Deps) { c.Exports = 1 })
	ctx, cancel := context.WithCancel(t.Context())
	pr, pw := io.Pipe()
	defer pr.Close()
	_ = pw
	req, err := http.NewRequestWithContext(ctx, "GET", ts.URL+"/api/v1/export?format=jsonl", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "identity")
	s.exports <- struct{}{}
	if resp, b := ask(t, ts.Client(), "GET", ts.URL+"/api/v1/export"); resp.StatusCode != 503 || !bytes.Contains(b, []byte("1 exports are running")) {
		t.Errorf("%s %s", resp.Status, b)
	}
	<-s.exports
	resp, err := ts.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	resp.Body.Close()
	deadline := time.Now().Add(10 * time.Second)
	for len(s.exports) > 0 {
		if time.Now().After(deadline) {
			t.Fatal("an export goes on without its reader")
		}
		time.Sleep(time.Millisecond)
	}
}

// TestImportSaysWhatIsWrong: the good entries are stored, the others named.
func TestImportSaysWhatIsWrong(t *testing.T) {
	st := held(t)
	_, ts := serve(t, st, importing(st))
	var b bytes.Buffer
	w, err := interchange.NewWriter(interchange.JSONL, &b, "v1")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range some(3) {
		if err := w.Write(interchange.Pair{RRPair: p}); err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.SplitAfter(b.String(), "\n")
	resp, got := send(t, ts.URL+"/api/v1/import", "application/x-ndjson", strings.NewReader(lines[0]+"nonsense\n"+lines[1]+lines[1]+`{"v":1,"status":true}`+"\n"+lines[2]))
	out := imported(t, got)
	if resp.StatusCode != 200 || out.Stored != 3 || out.Known != 1 || out.Rejected != 2 || !out.Complete || len(out.Errors) != 2 ||
		out.Errors[0].Line != 2 || out.Errors[1].Line != 5 || out.Errors[1].Message != "status is a JSON bool" {
		t.Errorf("%s %s", resp.Status, got)
	}
	// A HAR that ends early: what came before counts.
	_, file := ask(t, ts.Client(), "GET", ts.URL+"/api/v1/export")
	other := held(t)
	_, to := serve(t, other, importing(other))
	_, got = send(t, to.URL+"/api/v1/import?format=har", "application/json", bytes.NewReader(file[:len(file)-300]))
	if out := imported(t, got); out.Stored != 2 || out.Rejected != 1 || out.Complete || !strings.Contains(out.Errors[0].Message, "the file ends within it") {
		t.Errorf("%s", got)
	}
}

func TestImportIsRefused(t *testing.T) {
	st := held(t)
	_, ts := serve(t, st, importing(st))
	for _, c := range []struct {
		path, kind string
		status     int
		want       string
	}{
		{"?format=curl", "application/json", 400, "want har, jsonl or rrpair"},
		{"?app=" + strings.Repeat("a", 300), "application/json", 400, "want at most 256"},
		{"", "text/plain", 415, "want application/json"},
		{"", "multipart/form-data; boundary=x", 415, "want application/json"},
		{"", "", 415, "want application/json"},
	} {
		resp, b := send(t, ts.URL+"/api/v1/import"+c.path, c.kind, strings.NewReader("{}"))
		if resp.StatusCode != c.status || resp.Header.Get("Content-Type") != "application/problem+json" || !bytes.Contains(b, []byte(c.want)) {
			t.Errorf("%s %q: %s %s", c.path, c.kind, resp.Status, b)
		}
	}
	if resp, b := ask(t, ts.Client(), "GET", ts.URL+"/api/v1/import"); resp.StatusCode != 405 || resp.Header.Get("Allow") != "POST" {
		t.Errorf("%s %s", resp.Status, b)
	}
	im := importer.New(st, time.Now)
	_, busy := serve(t, st, func(_ *Config, d *Deps) { d.Importer = im })
	run, err := im.Begin("")
	if err != nil {
		t.Fatal(err)
	}
	if resp, b := send(t, busy.URL+"/api/v1/import", "application/json", strings.NewReader("")); resp.StatusCode != 503 {
		t.Errorf("%s %s", resp.Status, b)
	}
	run.Close()
	if resp, b := send(t, busy.URL+"/api/v1/import", "application/json", strings.NewReader("")); resp.StatusCode != 200 {
		t.Errorf("%s %s", resp.Status, b)
	}
	_, none := serve(t, newFake())
	if resp, b := send(t, none.URL+"/api/v1/import", "application/json", strings.NewReader("")); resp.StatusCode != 501 {
		t.Errorf("%s %s", resp.Status, b)
	}
	// What is not whole is not stored as if it were.
	pr, pw := io.Pipe()
	go func() { pw.CloseWithError(errors.New("gone")) }()
	req, err := http.NewRequestWithContext(t.Context(), "POST", ts.URL+"/api/v1/import", pr)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if resp, err := http.DefaultClient.Do(req); err == nil {
		resp.Body.Close()
		t.Error("a request that broke has an answer")
	}
}

// TestCodings: what the client likes best, and what it means is always the
// same.
func TestCodings(t *testing.T) {
	_, ts := serve(t, held(t, some(60)...))
	plain := func(r io.Reader) (io.Reader, error) { return r, nil }
	readers := map[string]func(io.Reader) (io.Reader, error){
		"": plain, "gzip": func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		"br":   func(r io.Reader) (io.Reader, error) { return brotli.NewReader(r), nil },
		"zstd": func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r) },
	}
	_, want := ask(t, ts.Client(), "GET", ts.URL+"/api/v1/pairs", "Accept-Encoding", "identity")
	for accept, coding := range map[string]string{
		"identity": "", "gzip": "gzip", "br": "br", "zstd": "zstd", "gzip, deflate, br, zstd": "zstd", "gzip;q=1.0, br;q=0.5": "gzip",
		"zstd;q=0, *": "br", "*;q=0": "", "deflate": "", "gzip;q=0.2, identity": "", "br;q=x, gzip": "gzip",
	} {
		resp, b := ask(t, ts.Client(), "GET", ts.URL+"/api/v1/pairs", "Accept-Encoding", accept)
		if resp.Header.Get("Content-Encoding") != coding || resp.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%q: %v", accept, resp.Header)
			continue
		}
		r, err := readers[coding](bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q: %v, %d bytes, want %d", accept, err, len(got), len(want))
		}
		if coding != "" && len(b) > len(want)/3 {
			t.Errorf("%q: %d bytes of %d", accept, len(b), len(want))
		}
	}
	for _, path := range []string{"/api/v1/fields/app/values", "/api/v1/export?format=parquet", "/api/v1/pairs/42"} {
		if resp, b := ask(t, ts.Client(), "GET", ts.URL+path, "Accept-Encoding", "gzip"); resp.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s: compressed, %d bytes", path, len(b))
		}
	}
}

// TestValidators: an answer that cannot change is not sent twice.
func TestValidators(t *testing.T) {
	_, ts := serve(t, held(t, some(3)...))
	const pair = "/api/v1/pairs/01997b2c-6d3f-7c44-9d6e-000000000001"
	for _, path := range []string{pair + "/response/body", pair + "/request/raw", pair + "/curl", "/api/v1/openapi.json"} {
		resp, b := ask(t, ts.Client(), "GET", ts.URL+path, "Accept-Encoding", "gzip")
		tag := resp.Header.Get("ETag")
		if resp.StatusCode != 200 || tag == "" || len(b) == 0 {
			t.Fatalf("%s: %s %v", path, resp.Status, resp.Header)
		}
		resp, b = ask(t, ts.Client(), "GET", ts.URL+path, "If-None-Match", `"x", `+tag)
		if resp.StatusCode != 304 || len(b) > 0 || strings.TrimPrefix(resp.Header.Get("ETag"), "W/") != strings.TrimPrefix(tag, "W/") {
			t.Errorf("%s: %s %v %d bytes", path, resp.Status, resp.Header, len(b))
		}
		if resp, _ = ask(t, ts.Client(), "GET", ts.URL+path, "If-None-Match", `"x"`); resp.StatusCode != 200 {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	if a, _ := ask(t, ts.Client(), "GET", ts.URL+pair+"/response/body"); a.Header.Get("Cache-Control") != "no-store" {
		t.Error("what was captured may not be kept on disks")
	}
}
