package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/weir-capture/weir/e2e/harness"
	"github.com/weir-capture/weir/e2e/ledger"
	"github.com/weir-capture/weir/e2e/load"
)

// TestTail: a live tail shows each pair that matches once, in its order, and
// one that begins where another stopped misses nothing, also when the
// analyzer was killed in between.
func TestTail(t *testing.T) {
	t.Parallel()
	nginx := startNginx(t, false)
	s := harness.NewStack(t, bins, nginx.Port)
	s.StartAll()
	api := ledger.NewAnalyzer(s.Viewer())
	client := load.NewGoClient()
	defer client.CloseIdleConnections()
	var want []string
	ask := func(n int) {
		t.Helper()
		for range n {
			var p load.Plan
			p.Add("GET", "/echo?id={id}", nil)
			p.Add("GET", "/empty?id={id}", nil)
			for _, r := range p.Requests {
				if c := load.One(t.Context(), client, s.Front(), r); c.Err != "" {
					t.Fatal(c.Err)
				}
			}
			want = append(want, p.Requests[0].ID)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var got []string
	follow := func(cursor string, until int) string {
		t.Helper()
		cursor, err := api.Tail(ctx, "status:200", cursor, func(r ledger.Row) bool {
			got = append(got, ledger.FindID(r.Target()))
			return len(got) < until
		})
		if err != nil {
			t.Fatalf("tail after %d rows of %d: %v", len(got), until, err)
		}
		return cursor
	}
	done := make(chan string, 1)
	go func() {
		// A tail begins with now, so the first row tells when that was.
		cursor, err := api.Tail(ctx, "status:200", "", func(r ledger.Row) bool {
			got = append(got, ledger.FindID(r.Target()))
			return false
		})
		if err != nil {
			cursor = fmt.Sprint("error: ", err)
		}
		done <- cursor
	}()
	var cursor string
	harness.Poll(t, 20*time.Second, "first row of the tail", func() error {
		ask(1)
		select {
		case cursor = <-done:
			return nil
		case <-time.After(200 * time.Millisecond):
			return fmt.Errorf("none")
		}
	})
	if len(got) != 1 {
		t.Fatal(cursor)
	}
	// What came before it was not asked for.
	for want[0] != got[0] {
		if want = want[1:]; len(want) == 0 {
			t.Fatalf("the tail began with %s, which nobody asked for", got[0])
		}
	}
	ask(5)
	cursor = follow(cursor, len(want)-2)
	s.Analyzer.Kill()
	ask(3)
	s.StartAnalyzer()
	ask(3)
	follow(cursor, len(want))
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("row %d of %d is %s, want %s\ngot  %v\nwant %v", i, len(want), got[i], want[i], got, want)
		}
	}
}
