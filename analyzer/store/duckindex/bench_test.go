package duckindex

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/query"
)

// benchRow is row n of a day of traffic: 20 apps, 60 endpoints, six statuses,
// durations of many sizes.
func benchRow(r *rand.Rand, n, of int) index.Row {
	day := int64(86_400e9)
	at := 1_700_000_000_000_000_000 + day/int64(of)*int64(n)
	app, end := r.IntN(20), r.IntN(60)
	row := index.Row{
		Off: uint64(n/64) * 80_000, Idx: uint32(n % 64), At: at + 1e8, Time: at,
		Duration: int64(math.Exp(r.NormFloat64()*1.2 + 16.5)), TTFB: int64(math.Exp(r.NormFloat64() + 15.5)),
		Cluster: "production", Namespace: "shop", App: "app-" + strconv.Itoa(app), Pod: fmt.Sprintf("app-%d-%d", app, r.IntN(3)),
		Direction: "inbound", Protocol: "http", Method: []string{"GET", "GET", "POST", "PUT"}[end%4],
		Host: fmt.Sprintf("app-%d.shop.example.com", app), Path: fmt.Sprintf("/api/v1/resource-%d/%d", end, r.IntN(1e6)),
		Endpoint: fmt.Sprintf("/api/v1/resource-%d/{id}", end), Status: []int32{200, 200, 200, 200, 201, 404, 503}[min(r.IntN(20), 6)],
		RequestSize: int64(r.IntN(4000)), ResponseSize: int64(r.IntN(8000)),
		ClientHost: fmt.Sprintf("10.0.%d.%d", app, r.IntN(12)), ServerHost: fmt.Sprintf("10.1.%d.1", app), Conn: int64(n / 40), Seq: int64(n % 40), Weight: 1,
	}
	row.Client, row.Server = row.ClientHost+":"+strconv.Itoa(30000+n/40%20000), row.ServerHost+":8080"
	binary.BigEndian.PutUint64(row.ID[:], uint64(at/1e6)<<16|7<<12|uint64(n)&0xfff)
	binary.BigEndian.PutUint64(row.ID[8:], r.Uint64()&^(3<<62)|1<<63)
	return row
}

// cpu is what the process has used of all CPUs; the clock says little on a
// machine that has other work.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkIndex has 200,000 rows; INDEX_ROWS says how many otherwise.
func BenchmarkIndex(b *testing.B) {
	of := 200_000
	if s := os.Getenv("INDEX_ROWS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			b.Fatal(err)
		}
		of = n
	}
	dir := filepath.Join(b.TempDir(), "index")
	x, err := Open(b.Context(), Options{Dir: dir, Store: "a"}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = x.Close() }()
	const batch = 10_000
	var used time.Duration
	fill := func(b *testing.B) {
		r := rand.New(rand.NewPCG(42, 42))
		rows := make([]index.Row, 0, batch)
		for n := 0; n < of; n += batch {
			b.StopTimer()
			rows = rows[:0]
			for i := range min(batch, of-n) {
				rows = append(rows, benchRow(r, n+i, of))
			}
			before := cpu(b)
			b.StartTimer()
			if err := x.Insert(b.Context(), rows, x.Watermark()+uint64(batch/64+1)*80_000); err != nil {
				b.Fatal(err)
			}
			used += cpu(b) - before
		}
	}
	b.Run("Insert", func(b *testing.B) {
		for i := range b.N {
			if i > 0 {
				b.StopTimer()
				if err := x.Remove(b.Context(), 0, math.MaxInt64); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			fill(b)
		}
		b.ReportMetric(float64(used.Nanoseconds())/float64(b.N)/float64(of), "cpu-ns/row")
	})
	stats, err := x.Stats(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if _, err := x.writer.ExecContext(b.Context(), "CHECKPOINT"); err != nil {
		b.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"+fileExt))
	if err != nil || len(files) != 1 {
		b.Fatal(files, err)
	}
	info, err := os.Stat(files[0])
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("%d rows, %.1f bytes each", stats.Rows, float64(info.Size())/float64(stats.Rows))
	sel := func(src string, span int64) index.Selection {
		q, err := query.Parse(src)
		if err != nil {
			b.Fatal(err)
		}
		return index.Selection{Query: q, From: stats.Newest + 1 - span, To: stats.Newest + 1, Below: math.MaxInt64}
	}
	const minute, hour, day = 60e9, 3600e9, 86_400e9
	eight := []string{"app", "host", "method", "status", "endpoint", "pod", "protocol", "client"}
	for _, c := range []struct {
		name string
		ask  func() error
	}{
		{"Newest", func() error {
			_, err := x.Rows(b.Context(), index.Page{Selection: sel("", minute), Limit: 100})
			return err
		}},
		{"FilteredHour", func() error {
			_, err := x.Rows(b.Context(), index.Page{Selection: sel("status:5xx app:app-7", hour), Limit: 100})
			return err
		}},
		{"Find", func() error {
			rows, err := x.Rows(b.Context(), index.Page{Selection: sel("", 600*minute), Limit: 1})
			if err == nil {
				_, err = x.Find(b.Context(), rows[0].ID)
			}
			return err
		}},
		{"Histogram", func() error {
			_, err := x.Count(b.Context(), index.Count{Selection: sel("", day), Step: minute, Buckets: 1440})
			return err
		}},
		{"Endpoints", func() error {
			_, err := x.Endpoints(b.Context(), index.Endpoints{Sum: index.Sum{Selection: sel("", day)}})
			return err
		}},
		{"EndpointsByBucket", func() error {
			x.exactRows = 0
			_, err := x.Endpoints(b.Context(), index.Endpoints{Sum: index.Sum{Selection: sel("", day)}})
			x.exactRows = math.MaxInt64
			return err
		}},
		{"Facets", func() error {
			_, err := x.Facets(b.Context(), index.Facets{Sum: index.Sum{Selection: sel("", day)}, Fields: eight})
			return err
		}},
		{"FacetsFiltered", func() error {
			_, err := x.Facets(b.Context(), index.Facets{Sum: index.Sum{Selection: sel("method:get", day)}, Fields: eight})
			return err
		}},
		{"FacetPath", func() error {
			_, err := x.Facets(b.Context(), index.Facets{Sum: index.Sum{Selection: sel("", day)}, Fields: []string{"path"}})
			return err
		}},
		{"Edges", func() error {
			known, err := x.Addresses(b.Context())
			if err == nil {
				_, err = x.Edges(b.Context(), index.Edges{Sum: index.Sum{Selection: sel("", day)}, Known: known})
			}
			return err
		}},
		{"EdgesByBucket", func() error {
			x.exactRows = 0
			_, err := x.Edges(b.Context(), index.Edges{Sum: index.Sum{Selection: sel("", day)}})
			x.exactRows = math.MaxInt64
			return err
		}},
		{"Errors", func() error {
			_, err := x.Errors(b.Context(), index.Errors{
				Sum: index.Sum{Selection: sel("", day)}, Steps: index.Steps{From: stats.Newest + 1 - day, Step: day / 40, Count: 41},
				Ask: store.Errors{ClientErrors: true, Newest: 20},
			})
			return err
		}},
		{"Heatmap", func() error {
			_, err := x.Heatmap(b.Context(), index.Heatmap{
				Sum: index.Sum{Selection: sel("", day)}, Steps: index.Steps{From: stats.Newest + 1 - day, Step: day / 120, Count: 121},
			})
			return err
		}},
		{"Difference", func() error {
			in, err := query.Parse("duration:>200ms")
			if err == nil {
				_, err = x.Difference(b.Context(), index.Difference{
					Sum: index.Sum{Selection: sel("", day)}, In: in, InFrom: stats.Newest - 4*hour, InTo: stats.Newest - hour, Limit: 5,
				})
			}
			return err
		}},
		{"Records", func() error { _, err := x.Records(b.Context(), sel("body:x app:app-3", day)); return err }},
	} {
		b.Run(c.name, func(b *testing.B) {
			before := cpu(b)
			for b.Loop() {
				x.cache.changed()
				if err := c.ask(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N)/1000, "cpu-ms/op")
		})
	}
}
