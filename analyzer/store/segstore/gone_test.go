package segstore_test

import (
	"context"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/segstore"
	"github.com/weir-capture/weir/analyzer/store/storetest"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// TestR37DeletedDataIsGone: a day passes in which pairs keep coming and going.
// Who asks meanwhile is told of no error; what is kept is within its bounds;
// and of what was removed nothing is left in the log and the files beside it.
func TestR37DeletedDataIsGone(t *testing.T) {
	dir := t.TempDir()
	c := &clock{now: time.Unix(1_800_000_000, 0)}
	s := start(t, segstore.Options{
		Dir: dir, Retention: 4 * time.Hour, RetainEvery: time.Millisecond, SegmentBytes: 64 << 10, CacheBytes: 1,
		IndexDelay: time.Millisecond, Now: c.Now, Elapsed: c.Elapsed,
	})
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	rng := rand.New(rand.NewPCG(37, 37))
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	for _, src := range []string{"", "common", "*ommon*", "method:GET", "body:/com+on/"} {
		asking.Go(func() {
			for ctx.Err() == nil {
				q := parse(t, src)
				for _, err := range s.List(ctx, store.List{Query: q, Limit: 200, Whole: true}) {
					if err != nil && !errors.Is(err, context.Canceled) {
						t.Errorf("list %q: %v", src, err)
						return
					}
				}
				if h, err := s.Histogram(ctx, store.Histogram{Query: q, Buckets: 10}); err != nil && !errors.Is(err, context.Canceled) || err == nil && h.Partial {
					t.Errorf("histogram %q: %+v, %v", src, h, err)
					return
				}
				for _, err := range s.Scan(ctx, store.Scan{Selection: store.Selection{Query: q}}) {
					if err != nil && !errors.Is(err, context.Canceled) {
						t.Errorf("scan %q: %v", src, err)
						return
					}
				}
			}
		})
	}
	// Random bytes, which compression leaves as they are.
	marks := make([]string, 24)
	n := uint64(0)
	for hour := range marks {
		mark := make([]byte, 48)
		for i := range mark {
			mark[i] = byte(rng.Uint32())
		}
		marks[hour] = string(mark)
		pairs := storetest.Pairs(n, n+10)
		for _, p := range pairs {
			p.Response = &capturev1.Message{Body: append([]byte("common "), mark...)}
		}
		n += 10
		if err := s.Append(t.Context(), f.Spool, []*capturev1.Frame{f.Frame(pairs...)}); err != nil {
			t.Fatal(err)
		}
		c.add(time.Hour)
		looked := s.Retained()
		eventually(t, "retention has looked", func() bool { return s.Retained() > looked+1 })
		// Four hours, and segments of half an hour.
		if x, err := s.Extent(t.Context()); err != nil || x.Pairs > 6*10 {
			eventually(t, "what is kept is within its bounds", func() bool {
				x, err := s.Extent(t.Context())
				return err == nil && x.Pairs <= 6*10
			})
		}
	}
	cancel()
	asking.Wait()
	eventually(t, "only the last hours are left", func() bool {
		x, err := s.Extent(t.Context())
		return err == nil && x.Pairs <= 5*10
	})
	s.close(t)
	left := 0
	for name, b := range content(t, dir) {
		if strings.HasPrefix(name, "index/") {
			continue // it has no bodies
		}
		for hour, mark := range marks {
			if !strings.Contains(b, mark) {
				continue
			}
			left++
			if hour < len(marks)-6 {
				t.Errorf("%s still has what came in hour %d: %s", name, hour, hex.EncodeToString([]byte(mark)))
			}
		}
	}
	if left == 0 && testMaster() == nil {
		t.Error("nothing is found of what is kept: the test does not test")
	}
}
