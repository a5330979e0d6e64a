package peer_test

import (
	"errors"
	"testing"
	"time"

	"github.com/weir-capture/weir/bench/store/corpus"
	"github.com/weir-capture/weir/bench/store/peer"
)

// TestAnswers: what is measured has to be an answer.
func TestAnswers(t *testing.T) {
	c := corpus.Day(20_000, time.Unix(1_790_000_000, 0))
	for _, name := range []string{"duckdb", "sqlite"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			p, err := peer.Open(t.Context(), name, dir, c)
			if err != nil {
				t.Fatal(err)
			}
			m := corpus.NewMaker(c)
			for n := range c.Pairs {
				if err := p.Add(t.Context(), m.Pair(n), corpus.Source(int(n%corpus.Proxies), 1)); err != nil {
					t.Fatal(err)
				}
				if n%1000 == 999 {
					if err := p.Commit(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
			for range 2 {
				for key, want := range map[string]int{
					"newest": 100, "page": 100, "one": 1, "endpoints": corpus.Endpoints, "common": 100,
					// One of the needles is compressed, and only Weir looks into that.
					"rare": corpus.Needles - 1,
				} {
					n, err := p.Ask(t.Context(), key, 3)
					if errors.Is(err, peer.ErrNoSuch) {
						continue
					}
					if err != nil || n != want {
						t.Errorf("%s: %d rows, %v, want %d", key, n, err, want)
					}
				}
				for _, key := range []string{"filtered", "histogram", "edges", "facets"} {
					if n, err := p.Ask(t.Context(), key, 2); err != nil || n == 0 {
						t.Errorf("%s: %d rows, %v", key, n, err)
					}
				}
				if err := p.Close(); err != nil {
					t.Fatal(err)
				}
				if p, err = peer.Open(t.Context(), name, dir, c); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
