package query_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/query"
	"github.com/weir-capture/weir/query/querytest"
)

var update = flag.Bool("update", false, "rewrite the expectations in testdata")

func TestMatcher(t *testing.T) {
	if *update {
		updateMatches(t)
		return
	}
	pairs := querytest.Pairs(t)
	querytest.Run(t, func(t *testing.T, q *query.Query) (ids []string) {
		m := q.Matcher()
		for _, p := range pairs {
			if m.Match(p.RRPair) {
				ids = append(ids, query.FormatID(p.Id))
			}
		}
		return ids
	})
}

// updateMatches rewrites the right sides of match.txt, for a person to read.
func updateMatches(t *testing.T) {
	const file = "querytest/testdata/match.txt"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pairs := querytest.Pairs(t)
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		src, _, ok := strings.Cut(line, "=>")
		if !ok || strings.HasPrefix(line, "# ") {
			out.WriteString(line)
			continue
		}
		src = strings.TrimSpace(src)
		q, err := query.Parse(src)
		if err != nil {
			t.Fatalf("%s: %v", src, err)
		}
		var names []string
		m := q.Matcher()
		for _, p := range pairs {
			if m.Match(p.RRPair) {
				names = append(names, p.Name)
			}
		}
		switch len(names) {
		case 0:
			names = []string{"none"}
		case len(pairs):
			names = []string{"all"}
		}
		out.WriteString(strings.TrimSpace(src+" => "+strings.Join(names, " ")) + "\n")
	}
	if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestContent: what of a body is searched.
func TestContent(t *testing.T) {
	encode := func(coding, body string) []byte {
		b, err := querytest.Encode(coding, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	head := func(coding string) []byte {
		return []byte("HTTP/1.1 200 OK\r\nContent-Encoding: " + coding + "\r\n\r\n")
	}
	var varied strings.Builder
	for i := range 400_000 {
		fmt.Fprintf(&varied, "%d,", i)
	}
	long := varied.String()
	zeros := strings.Repeat("0", 1<<20)
	for _, test := range []struct {
		name string
		msg  *capturev1.Message
		want string
	}{
		{"no message", nil, ""},
		{"no coding", &capturev1.Message{Body: []byte("plain")}, "plain"},
		{"gzip", &capturev1.Message{Head: head("gzip"), Body: encode("gzip", "plain")}, "plain"},
		{"raw deflate", &capturev1.Message{Head: head("deflate"), Body: encode("raw-deflate", "plain")}, "plain"},
		{"stored decoded", &capturev1.Message{Head: head("gzip"), Body: []byte("plain"), BodyDecoded: true}, "plain"},
		{"unknown coding", &capturev1.Message{Head: head("rot13"), Body: []byte("cynva")}, "cynva"},
		{"not what it says", &capturev1.Message{Head: head("gzip"), Body: []byte("plain")}, "plain"},
		{"longer than the limit", &capturev1.Message{Head: head("gzip"), Body: encode("gzip", long)}, long[:query.MaxDecodedBody]},
		{"beyond the ratio", &capturev1.Message{Head: head("br"), Body: encode("br", zeros)}, zeros[:64<<10]},
		{"cut short", &capturev1.Message{Head: head("gzip"), Body: encode("gzip", "plain")[:14]}, "pl"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := query.Content(test.msg)
			if test.name == "cut short" {
				// How much comes out is the decoder's affair.
				if !strings.HasPrefix("plain", string(got)) && !bytes.Equal(got, test.msg.Body) {
					t.Errorf("got %q", got)
				}
				return
			}
			if string(got) != test.want {
				t.Errorf("got %d bytes, want %d", len(got), len(test.want))
			}
		})
	}
}

func TestWithEndpoint(t *testing.T) {
	q, err := query.Parse("endpoint:/users/{id}")
	if err != nil {
		t.Fatal(err)
	}
	p := &capturev1.RRPair{Path: "/users/17"}
	if q.Matcher().Match(p) {
		t.Error("the path matches as an endpoint")
	}
	template := func(p *capturev1.RRPair) string { return strings.Replace(p.Path, "17", "{id}", 1) }
	if !q.Matcher(query.WithEndpoint(template)).Match(p) {
		t.Error("the template does not match")
	}
}

// TestConcurrent: one Matcher serves many goroutines.
func TestConcurrent(t *testing.T) {
	pairs := querytest.Pairs(t)
	q, err := query.Parse(`declined OR header.x-tenant:acme OR json.items[*].price:>1000 OR body:/zstandard/`)
	if err != nil {
		t.Fatal(err)
	}
	m := q.Matcher()
	want := map[string]bool{"cart": true, "payment": true, "items": true, "zstd": true}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				for _, p := range pairs {
					if got := m.Match(p.RRPair); got != want[p.Name] {
						t.Errorf("%s: %v", p.Name, got)
					}
				}
			}
		})
	}
	wg.Wait()
}

// TestLongRuns: texts made to be slow for a careless search are not.
func TestLongRuns(t *testing.T) {
	run := strings.Repeat("a", 1<<20)
	p := &capturev1.RRPair{Response: &capturev1.Message{Body: []byte(run), BodySize: uint64(len(run))}}
	for _, src := range []string{
		strings.Repeat("a", 4000),
		strings.Repeat("a*", 2000) + "b",
		"-" + strings.Repeat("a", 4000) + "*b*",
	} {
		q, err := query.Parse(src)
		if err != nil {
			t.Fatal(err)
		}
		m := q.Matcher()
		start := time.Now()
		m.Match(p)
		// A millisecond is usual; a quadratic search takes minutes.
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("%.20s… takes %v for 1 MiB", src, d)
		}
	}
}
