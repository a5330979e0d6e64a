package soak

import (
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/weir-capture/weir/e2e/ledger"
)

// sumHeader is the size and XXH3-128 of the request body as the backend got it.
const sumHeader = "X-Body-Sum"

// backend is the application. Every answer follows from the request's id and
// its query:
//
//	/size?n=     n bytes, with a content length
//	/chunked?n=  n bytes, in chunks
//	/halves?n=   n bytes with a pause in the middle
//	/events?n=   n server-sent events, every= milliseconds apart
//
// It returns its port.
func backend(t testing.TB) int {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(answer))
	t.Cleanup(s.Close)
	return s.Listener.Addr().(*net.TCPAddr).Port
}

// halfPause is how long /halves waits in the middle, for its client to go.
const halfPause = 200 * time.Millisecond

func answer(w http.ResponseWriter, r *http.Request) {
	var id [16]byte
	if n, err := hex.Decode(id[:], []byte(r.Header.Get(ledger.Header))); n != len(id) || err != nil {
		http.Error(w, "no id", http.StatusBadRequest)
		return
	}
	in, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	number := func(name string) int { n, _ := strconv.Atoi(r.URL.Query().Get(name)); return n }
	n := number("n")
	w.Header().Set(ledger.Header, hex.EncodeToString(id[:]))
	w.Header().Set(sumHeader, sumText(in))
	flush := http.NewResponseController(w).Flush
	wait := func(d time.Duration) bool {
		select {
		case <-time.After(d):
			return true
		case <-r.Context().Done():
			return false
		}
	}
	switch r.URL.Path {
	case "/size":
		w.Header().Set("Content-Length", strconv.Itoa(n))
		_, _ = w.Write(ledger.Noise(id, 0, n))
	case "/chunked":
		for rest := ledger.Noise(id, 0, n); len(rest) > 0; {
			k := min(len(rest), 1000)
			if _, err := w.Write(rest[:k]); err != nil || flush() != nil {
				return
			}
			rest = rest[k:]
		}
	case "/halves":
		w.Header().Set("Content-Length", strconv.Itoa(n))
		all := ledger.Noise(id, 0, n)
		_, _ = w.Write(all[:n/2])
		if flush() == nil && wait(halfPause) {
			_, _ = w.Write(all[n/2:])
		}
	case "/events":
		w.Header().Set("Content-Type", "text/event-stream")
		every := time.Duration(number("every")) * time.Millisecond
		for i := range n {
			if i > 0 && !wait(every) {
				return
			}
			if _, err := io.WriteString(w, event(id, i)); err != nil || flush() != nil {
				return
			}
		}
	default:
		http.NotFound(w, r)
	}
}

// event is one server-sent event of a response.
func event(id [16]byte, i int) string { return fmt.Sprintf("data: %x %d\n\n", id, i) }

// sumText is the value of sumHeader for a body.
func sumText(p []byte) string {
	s := ledger.SumOf(p)
	return fmt.Sprintf("%d %x", s.Size, s.XXH3)
}
