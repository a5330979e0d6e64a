package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	httpv1 "github.com/weir-capture/weir/api/http/v1"
)

func TestAddress(t *testing.T) {
	for _, bad := range []string{"", "localhost:4190", "ftp://x", "http://", "http://x?q", "://"} {
		if _, err := New(bad); err == nil || !strings.Contains(err.Error(), "http://127.0.0.1:4190") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	c, err := New("http://x:1/weir/")
	if err != nil || c.URL() != "http://x:1/weir" {
		t.Errorf("%v %v", c, err)
	}
}

func serve(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	ts := httptest.NewServer(h)
	t.Cleanup(ts.Close)
	c, err := New(ts.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestErrorsAreTold(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/a"):
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(404)
			io.WriteString(w, `{"type":"urn:weir:problem:not-found","title":"Not Found","status":404,"detail":"gone"}`)
		case strings.HasSuffix(r.URL.Path, "/b"):
			http.Error(w, "<html>a proxy's page", http.StatusBadGateway)
		default:
			io.WriteString(w, "{")
		}
	})
	_, err := c.Pair(t.Context(), "a")
	if p, ok := errors.AsType[*Problem](err); !ok || p.Type != httpv1.ProblemNotFound || err.Error() != "gone" {
		t.Errorf("%v", err)
	}
	_, err = c.Pair(t.Context(), "b")
	if _, ok := errors.AsType[*UnreachableError](err); !ok || !strings.Contains(err.Error(), "502") {
		t.Errorf("%v", err)
	}
	if _, err = c.Pair(t.Context(), "c"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
}

// TestFollowComesBack: cut connections and a busy analyzer are waited out, at
// the place that was reached; the end is an error that stays.
func TestFollowComesBack(t *testing.T) {
	n := 0
	var resumed []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n++
		resumed = append(resumed, r.Header.Get("Last-Event-ID"))
		switch n {
		case 2:
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(503)
			io.WriteString(w, `{"status":503}`)
		case 4:
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(400)
			io.WriteString(w, `{"status":400,"detail":"the end"}`)
		default:
			fmt.Fprintf(w, ": hello\n\nevent: pair\nid: %d\ndata: {\"path\":\"/%d\"}\n\nevent: pair\ndata: {\"path\"", n, n)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var got []string
	for ev, err := range c.Follow(ctx, "", "") {
		if err != nil {
			got = append(got, err.Error())
			break
		}
		got = append(got, ev.Pair.Path)
	}
	if fmt.Sprint(got) != "[/1 /3 the end]" || fmt.Sprintf("%q", resumed) != `["" "1" "1" "3"]` {
		t.Errorf("%v %q", got, resumed)
	}
}

// FuzzEvents: any bytes, in any pieces, give the same events; no event is
// larger than its bytes.
func FuzzEvents(f *testing.F) {
	f.Add([]byte("event: pair\nid: 7\ndata: {}\n\n: beat\n\nid: 8\n\n"))
	f.Add([]byte("data: a\r\ndata:b\r\n\r\ndata"))
	f.Add([]byte("event: dropped\ndata: {\"count\":3}\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		read := func(r io.Reader) (out []string) {
			for ev, err := range events(r) {
				out = append(out, fmt.Sprintf("%s %s %s %v", ev.kind, ev.id, ev.data, err))
				if len(ev.data) > len(b) {
					t.Fatalf("%d bytes of data in %d bytes", len(ev.data), len(b))
				}
				ev.event() // must not panic
			}
			return out
		}
		whole, split := read(strings.NewReader(string(b))), read(iotest.OneByteReader(strings.NewReader(string(b))))
		if fmt.Sprint(whole) != fmt.Sprint(split) {
			t.Errorf("whole %q, split %q", whole, split)
		}
	})
}

// TestAddressWithoutPassword: what is shown of the address is no secret.
func TestAddressWithoutPassword(t *testing.T) {
	c, err := New("http://me:secret@127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Info(t.Context())
	_, bad := New("http://me:secret@127.0.0.1:1?x")
	for _, s := range []string{c.URL(), fmt.Sprint(err), fmt.Sprint(bad)} {
		if strings.Contains(s, "secret") || !strings.Contains(s, "127.0.0.1:1") {
			t.Error(s)
		}
	}
}
