// Package peer is other ways to keep the same pairs: everything in DuckDB, and
// Weir's own log with an index in SQLite. Each is as good as one can make it in
// an afternoon, and embedded: there is no process, protocol or API around it,
// which flatters it beside Weir.
package peer

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/bench/store/corpus"
)

// Peer keeps pairs.
type Peer interface {
	// Add takes one pair, which is lent.
	Add(ctx context.Context, p *capturev1.RRPair, source *capturev1.Source) error
	// Commit makes what was added durable.
	Commit(ctx context.Context) error
	// Ask asks the question of a row, the i-th time, and says how many rows
	// came. ErrNoSuch when it has no answer to it.
	Ask(ctx context.Context, key string, i int) (rows int, err error)
	Close() error
}

// ErrNoSuch: the peer cannot answer that.
var ErrNoSuch = fmt.Errorf("it has no way to answer this")

// Open opens one of the peers in a folder of its own.
func Open(ctx context.Context, name, dir string, c corpus.Corpus) (Peer, error) {
	switch name {
	case "duckdb":
		return openDuck(ctx, filepath.Join(dir, "pairs.duckdb"), c)
	case "sqlite":
		return openLite(ctx, dir, c)
	}
	return nil, fmt.Errorf("no peer is called %q", name)
}

// Keys are the rows that peers have.
func Keys() []string {
	return []string{"newest", "page", "one", "filtered", "histogram", "edges", "endpoints", "facets", "rare", "common"}
}

const pageLen = 100

// window is the time that the i-th repeat of a question asks about: as for
// Weir, another one each time.
func window(c corpus.Corpus, from, to time.Duration, i int) (int64, int64) {
	shift := int64(i) * 1_700_000_001
	return c.To - int64(from) + shift, c.To - int64(to) - shift
}

// widening asks for a page of the newest in ever larger windows before to,
// until it is full or from is reached: as quick as a list can be without an
// index that has its order.
func widening(from, to int64, ask func(from, to int64) (int, error)) (int, error) {
	for width := int64(time.Minute); ; width *= 4 {
		start := max(from, to-width)
		n, err := ask(start, to)
		if err != nil || n >= pageLen || start == from {
			return n, err
		}
	}
}

// drain reads all rows of an answer.
func drain(ctx context.Context, db *sql.DB, query string, args ...any) (int, error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return 0, fmt.Errorf("ask: %w", err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return 0, fmt.Errorf("ask: %w", err)
	}
	values := make([]any, len(names))
	into := make([]any, len(names))
	for i := range values {
		into[i] = &values[i]
	}
	n := 0
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return n, fmt.Errorf("read answer: %w", err)
		}
		n++
	}
	if err := rows.Err(); err != nil {
		return n, fmt.Errorf("read answer: %w", err)
	}
	return n, nil
}

// endpointOf is a path with its numbers taken out.
func endpointOf(path string) string {
	if !strings.ContainsAny(path, "0123456789") {
		return path
	}
	parts := strings.Split(path, "/")
	for i, p := range parts {
		if p != "" && strings.Trim(p, "0123456789") == "" {
			parts[i] = "{id}"
		}
	}
	return strings.Join(parts, "/")
}

func host(addr string) string {
	ip, _, _ := strings.Cut(addr, ":")
	return ip
}

// bucketOf puts a duration into one of the logarithmic buckets, 2 % wide.
func bucketOf(d int64) int {
	if d < 1 {
		return 0
	}
	return int(math.Log(float64(d)) / math.Log(1.02))
}

// wanted is which pair the i-th question for one whole pair asks for.
func wanted(c corpus.Corpus, i int) [16]byte { return c.ID(uint64(i*7919+13) * 104_729 % c.Pairs) }

var facetColumns = []string{"app", "host", "method", "status", "endpoint", "protocol", "namespace", "pod"}

// percentiles are of durations in buckets, with their counts.
func percentiles(counts map[int]int) [3]int {
	total := 0
	for _, n := range counts {
		total += n
	}
	keys := make([]int, 0, len(counts))
	for k := range counts {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var out [3]int
	for j, q := range []float64{0.5, 0.95, 0.99} {
		left := int(math.Ceil(q * float64(total)))
		for _, k := range keys {
			if left -= counts[k]; left <= 0 {
				out[j] = k
				break
			}
		}
	}
	return out
}
