package load

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-capture/weir/e2e/ledger"
)

// TestSteadyAndBackend: without anything between them, client and server agree
// on every request.
func TestSteadyAndBackend(t *testing.T) {
	book := ledger.NewBook()
	port := Backend(t, book)
	var timed atomic.Int64
	ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond)
	defer cancel()
	Steady{
		Addr: fmt.Sprintf("127.0.0.1:%d", port), Rate: 300, Response: 100_000, Request: 50_000,
		PostEvery: 2, FailEvery: 5, SlowEvery: 7, Slow: 20 * time.Millisecond, AbortEvery: 11,
		Latency: func(time.Time, time.Duration) { timed.Add(1) },
	}.Run(ctx, book)
	var fails, posts, aborted, largest int64
	for _, e := range book.Entries() {
		switch {
		case e.Outcome == ledger.Aborted:
			aborted++
			continue
		case e.Outcome != ledger.Completed:
			t.Fatalf("a request failed: %s", book.Errors())
		case e.Status == 500:
			fails++
		}
		if e.Out.Size > 0 {
			posts++
		}
		largest = max(largest, e.In.Size)
	}
	if n := len(book.Entries()); n < 60 || int64(n) != timed.Load()+aborted {
		t.Errorf("%d requests, %d of them timed, %d broken off", n, timed.Load(), aborted)
	}
	if fails == 0 || posts == 0 || aborted == 0 || largest < 1<<16 {
		t.Errorf("the mixture has %d errors, %d bodies, %d broken off, responses of up to %d bytes", fails, posts, aborted, largest)
	}
}

// TestSteadyFindsWrongResponses: a response that is another's, or cut, is not
// taken for an answer.
func TestSteadyFindsWrongResponses(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "wrong") }))
	defer s.Close()
	book := ledger.NewBook()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	Steady{Addr: strings.TrimPrefix(s.URL, "http://"), Rate: 100, Response: 1000}.Run(ctx, book)
	if n := len(book.Entries()); n == 0 || book.Count(ledger.Failed) != n {
		t.Errorf("%d of %d were found", book.Count(ledger.Failed), n)
	}
}
