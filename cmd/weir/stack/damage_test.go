package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-capture/weir/interchange"
)

// manyPairs writes a file of pairs of app "shop", with bodies that are text.
func manyPairs(t *testing.T, name string, n int) {
	t.Helper()
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, `{"v":1,"id":"01997b2c-6d3f-7c44-9d6e-%012x","source":{"app":"shop"},"protocol":"http","method":"GET","host":"a","path":"/n/%d","status":200,"conn":1,"seq":%d,`+
			`"timing":{"request_first":%q},"request":{"head":"GET /n/%d HTTP/1.1\r\nHost: a\r\n\r\n"},"response":{"head":"HTTP/1.1 200 OK\r\n\r\n","body":%q,"body_size":%d}}`+"\n",
			i, i, i, time.Now().Add(time.Duration(i)*time.Millisecond).UTC().Format(time.RFC3339Nano), i, text(i), len(text(i)))
	}
	if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func text(i int) string { return strings.Repeat(strconv.Itoa(i*7919), 20) }

// flip changes one bit in the middle of the log.
func flip(t *testing.T, data string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(data, "seg", "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	var name string
	var size int64
	for _, n := range names {
		if st, err := os.Stat(n); err == nil && st.Size() > size {
			name, size = n, st.Size()
		}
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	// The file may be longer than what is written of it.
	b[len(bytes.TrimRight(b, "\x00"))/2] ^= 4
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// trailers are those of an export, with the file.
func trailers(t *testing.T, data, format string) (http.Header, []byte) {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(data, "control.sock"))
	}}}
	defer c.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/api/v1/export?format="+format, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, declared := resp.Trailer["Weir-Partial"]; resp.StatusCode != 200 || !declared {
		t.Errorf("%s: status %d, declared %v", format, resp.StatusCode, resp.Trailer)
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		t.Fatal(err) // it must come to its end
	}
	return resp.Trailer, b.Bytes()
}

// TestExportPassesOverDamage: one flipped bit costs its record and not the
// export. Files are whole, what is missing is counted, by the API and by the
// command, which ends with a status of its own; the same is told again when it
// is known, and after another start.
func TestExportPassesOverDamage(t *testing.T) {
	const n = 300
	w := newWorld(t)
	data := filepath.Join(w.dir, "data")
	manyPairs(t, filepath.Join(w.dir, "all.jsonl"), n)
	up := w.here("weir up --to localhost:8080 --app checkout")
	start := func() *running {
		stack := w.start(up)
		stack.until(t, "Ctrl-C  stops")
		return stack
	}
	run := func(line string, want int) string {
		t.Helper()
		out, err := w.run(line)
		got := 0
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			got = exit.ExitCode()
		}
		if got != want {
			t.Errorf("%s: status %d, want %d\n%s", line, got, want, out)
		}
		return out
	}
	stack := start()
	run("weir import all.jsonl", 0)
	run("weir export --file whole.jsonl", 0)
	stack.stop(t)
	flip(t, data)

	var lost uint64
	for again := range 2 {
		stack = start()
		for range 2 {
			for _, format := range []string{"jsonl", "har", "parquet", "curl"} {
				sum, file := trailers(t, data, format)
				pairs, err := strconv.ParseUint(sum.Get("Weir-Pairs"), 10, 64)
				if err != nil {
					t.Fatalf("%v: %v", err, sum)
				}
				partial, err := strconv.ParseUint(sum.Get("Weir-Partial"), 10, 64)
				if err != nil || partial == 0 || partial > 64 || pairs+partial != n || lost > 0 && partial != lost {
					t.Fatalf("start %d, %s: %v, %d lost before", again, format, sum, lost)
				}
				lost = partial
				if format != "jsonl" && format != "har" {
					continue
				}
				read := uint64(0)
				for p, err := range interchange.Read(interchange.Format(format), bytes.NewReader(file), interchange.Limits{}) {
					if err != nil || string(p.GetResponse().GetBody()) != text(int(p.GetSeq())) {
						t.Fatalf("%s: %v %v", format, err, p)
					}
					read++
				}
				if read != pairs || format == "har" && !json.Valid(file) {
					t.Errorf("%s: %d pairs in the file, %d said", format, read, pairs)
				}
			}
		}
		said := fmt.Sprintf("%d pairs were passed over", lost)
		for _, file := range []string{"part.jsonl", "part.har", "part.parquet"} {
			if out := run("weir export --file "+file, 4); !strings.Contains(out, said) || !strings.Contains(out, fmt.Sprintf("%d pairs in %s.", n-lost, file)) {
				t.Errorf("%s: %s", file, out)
			}
		}
		run("weir export path:/nothing > nothing.har", 4)
		if out := run("weir import part.har", 0); !strings.Contains(out, fmt.Sprintf("0 pairs stored, %d known", n-lost)) {
			t.Error(out)
		}
		if out := run("SPOOL_DIR= weir dlp scan", 2); !strings.Contains(out, said) {
			t.Error(out)
		}
		stack.stop(t)
	}
	t.Logf("%d of %d pairs were in the record that a bit was flipped in", lost, n)
}
