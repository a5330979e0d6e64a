package segstore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/query"
	"github.com/weir-capture/weir/seglog"
)

// Pair implements store.Reader.
func (s *Store) Pair(ctx context.Context, id store.ID) (*store.Stored, error) {
	var row *index.Row
	snap := s.live.snapshot()
	for _, b := range slices.Backward(snap.pending) {
		for i := range b.rows {
			if b.rows[i].ID == id {
				row = &b.rows[i]
			}
		}
		if row != nil {
			break
		}
	}
	if row == nil {
		err := s.use(ctx, func(x index.Index) error {
			r, err := x.Find(ctx, id)
			row = &r
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("find pair: %w", err)
		}
	}
	st, _, err := s.pair(ctx, row)
	if errors.Is(err, errGone) {
		return nil, fmt.Errorf("find pair: %w", store.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read pair: %w", s.mistrust(err))
	}
	return st, nil
}

// mistrust asks for a new index where the log says something else.
func (s *Store) mistrust(err error) error {
	if errors.Is(err, index.ErrBroken) {
		select {
		case s.index.broken <- err:
		default:
		}
		return fmt.Errorf("%w: %w", store.ErrNotReady, err)
	}
	return err
}

// Extent implements store.Reader.
func (s *Store) Extent(ctx context.Context) (store.Extent, error) {
	// Without the index there is no count.
	if err := s.use(ctx, func(index.Index) error { return nil }); err != nil {
		return store.Extent{}, fmt.Errorf("read extent: %w", err)
	}
	snap := s.live.snapshot()
	stats := snap.total()
	return store.Extent{Oldest: stats.Oldest, Newest: stats.Newest, Pairs: stats.Rows, Bytes: s.bytes()}, nil
}

// total is index and pending rows together.
func (s *snapshot) total() index.Stats {
	stats := s.stats
	for _, b := range s.pending {
		for i := range b.rows {
			stats.Add(&b.rows[i])
		}
	}
	return stats
}

// List implements store.Reader.
func (s *Store) List(ctx context.Context, l store.List) iter.Seq2[*store.Stored, error] {
	return func(yield func(*store.Stored, error) bool) {
		err := s.list(ctx, l, func(st *store.Stored) bool { return yield(st, nil) })
		if err != nil {
			yield(nil, err)
		}
	}
}

// list calls yield until it says no, which is not an error.
func (s *Store) list(ctx context.Context, l store.List, yield func(*store.Stored) bool) error {
	if l.Limit <= 0 {
		return nil
	}
	if !index.Covered(l.Query) {
		if err := s.listWalk(ctx, l, yield); err != nil {
			return fmt.Errorf("list pairs: %w", err)
		}
		return nil
	}
	if l.To == 0 {
		l.To = math.MaxInt64
	}
	c, err := s.search(ctx, l.Query, l.From, l.To, l.Before, l.Whole, l.ScanBudget)
	if err != nil {
		return fmt.Errorf("list pairs: %w", err)
	}
	c.expect(l.Limit)
	for n := 0; n < l.Limit; {
		r, err := c.next(ctx)
		if err != nil {
			return fmt.Errorf("list pairs: %w", err)
		}
		if r == nil {
			return c.verdict()
		}
		st, err := c.decide(ctx, r)
		if err != nil {
			return fmt.Errorf("list pairs: %w", err)
		}
		if st == nil {
			continue
		}
		if !yield(st) {
			return nil
		}
		n++
	}
	return nil
}

// search walks the rows that may fit a query, the newest first, and decides
// about each.
type search struct {
	s     *Store
	snap  snapshot
	match func(*capturev1.RRPair) bool
	// exact: the index has decided. Otherwise the row does: it has all that the
	// query asks about. whole: pairs are wanted with everything in them.
	exact, whole bool
	// pending are rows of the snapshot in order, from those not seen yet.
	pending []*index.Row
	// What the index is asked next: pages of window nanoseconds that end at
	// page.To.
	page   index.Page
	from   int64
	window int64
	rows   []index.Row
	// done: the index has nothing older.
	done bool
	// want is how many are asked for, if that is known.
	want int

	budget  int64
	spent   int64
	counted map[uint64]struct{} // frames
	last    *index.Row
	damaged uint64
}

// The newest page is looked for in a window that grows until it is full: most
// often the first one has it all.
const (
	firstWindow  = int64(time.Minute)
	windowGrowth = 4
	// Where every row will do, the first window is one that has this many times
	// the rows that are asked for, if they are spread evenly.
	windowRows = 4
	// pageRows is how many rows are asked for at once when it is not known how
	// many of them will do, pagePointers the same where only pointers are.
	pageRows     = 1000
	pagePointers = 4000
)

func (s *Store) search(ctx context.Context, q *query.Query, from, to int64, before *store.Key, whole bool, budget int64) (*search, error) {
	c := &search{
		s: s, whole: whole, from: from, window: firstWindow, budget: budget,
		match:   s.matcher(q).Match,
		counted: map[uint64]struct{}{},
	}
	if c.budget == 0 {
		c.budget = s.opt.ScanBudget
	}
	if err := s.use(ctx, func(x index.Index) error { c.exact = x.Exact(q); return nil }); err != nil {
		return nil, err
	}
	c.snap = s.live.snapshot()
	for _, b := range c.snap.pending {
		for i := range b.rows {
			r := &b.rows[i]
			if r.Time >= from && r.Time < to && (before == nil || older(r.Key(), *before)) {
				c.pending = append(c.pending, r)
			}
		}
	}
	slices.SortFunc(c.pending, func(a, b *index.Row) int { return compare(b.Key(), a.Key()) })
	if before != nil && before.Time < to {
		to = before.Time + 1
	}
	// Beyond what there is nothing needs to be asked for.
	if c.snap.stats.Rows == 0 || to <= c.snap.stats.Oldest || from > c.snap.stats.Newest {
		c.done = true
	}
	c.from = max(from, c.snap.stats.Oldest)
	c.page = index.Page{
		Selection: index.Selection{Query: q, To: min(to, c.snap.stats.Newest+1), Below: c.snap.below},
		Before:    before,
		Limit:     pageRows,
		Pointers:  whole && c.exact,
	}
	if c.page.Pointers {
		c.page.Limit = pagePointers
	}
	return c, nil
}

// expect says how many rows are asked for.
func (c *search) expect(want int) {
	c.want = want
	stats := &c.snap.stats
	if q := c.page.Query; stats.Rows == 0 || q != nil && q.Root != nil {
		return
	}
	perRow := (stats.Newest - stats.Oldest) / int64(stats.Rows)
	if perRow < firstWindow/windowRows/int64(want) {
		c.window = max(perRow, 1) * windowRows * int64(want)
	}
}

func compare(a, b store.Key) int {
	return cmp.Or(cmp.Compare(a.Time, b.Time), bytes.Compare(a.ID[:], b.ID[:]))
}

func older(a, b store.Key) bool { return compare(a, b) < 0 }

// next is the next row that may fit, nil at the end.
func (c *search) next(ctx context.Context) (*index.Row, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if c.spent > c.budget {
		return nil, c.partial(fmt.Sprintf("scan budget of %d MiB used up", c.budget>>20))
	}
	for len(c.rows) == 0 && !c.done {
		if err := c.ask(ctx); err != nil {
			return nil, err
		}
	}
	switch {
	case len(c.rows) == 0 && len(c.pending) == 0:
		return nil, nil
	case len(c.rows) == 0 || len(c.pending) > 0 && older(c.rows[0].Key(), c.pending[0].Key()):
		c.last = c.pending[0]
		c.pending = c.pending[1:]
	default:
		c.last = &c.rows[0]
		c.rows = c.rows[1:]
	}
	return c.last, nil
}

// ask reads the next page of the index.
func (c *search) ask(ctx context.Context) error {
	c.page.From = c.from
	if c.page.To-c.from > c.window { // cannot overflow: both are times of rows
		c.page.From = c.page.To - c.window
	}
	if c.exact && c.want > 0 {
		c.page.Limit = min(c.want, c.page.Limit)
	}
	err := c.s.use(ctx, func(x index.Index) (err error) {
		c.rows, err = x.Rows(ctx, c.page)
		return err
	})
	if err != nil {
		return err
	}
	if len(c.rows) == c.page.Limit {
		// There may be more in this window.
		key := c.rows[len(c.rows)-1].Key()
		c.page.Before = &key
		return nil
	}
	c.page.To = c.page.From
	c.done = c.page.To <= c.from
	if c.window < math.MaxInt64/windowGrowth {
		c.window *= windowGrowth
	}
	return nil
}

// decide gives the pair of a row, or nil when it does not fit after all.
func (c *search) decide(ctx context.Context, r *index.Row) (*store.Stored, error) {
	pending := r.Off >= c.snap.below
	if pending || !c.page.Pointers {
		st, err := r.Stored()
		if err != nil {
			return nil, c.s.mistrust(fmt.Errorf("%w: %w", index.ErrBroken, err))
		}
		if !c.exact || pending {
			c.spent += r.Size()
			if !c.match(st.Pair) {
				return nil, nil
			}
		}
		if !c.whole {
			return st, nil
		}
	}
	return c.open(ctx, r)
}

// minFrameCost is what opening a frame costs at least, in bytes of budget.
const minFrameCost = 4 << 10

// open reads the pair of a row from the log; nil when retention was quicker or
// the log is damaged there, which verdict tells.
func (c *search) open(ctx context.Context, r *index.Row) (*store.Stored, error) {
	st, size, err := c.s.pair(ctx, r)
	if err == nil {
		if _, ok := c.counted[r.Off]; !ok {
			c.counted[r.Off] = struct{}{}
			c.spent += max(size, minFrameCost)
		}
		return st, nil
	}
	if errors.Is(err, errGone) {
		return nil, nil
	}
	if _, ok := errors.AsType[*seglog.CorruptError](err); ok {
		c.damaged++
		return nil, nil
	}
	return nil, c.s.mistrust(err)
}

func (c *search) partial(reason string) error {
	p := &store.PartialError{Reason: reason}
	if c.last != nil {
		key := c.last.Key()
		p.Reached = &key
	}
	return p
}

// verdict is the error at the end of a search that saw everything there was.
func (c *search) verdict() error { return damagedVerdict(c.damaged) }

// Histogram implements store.Reader.
func (s *Store) Histogram(ctx context.Context, h store.Histogram) (*store.Buckets, error) {
	b, err := s.histogram(ctx, h)
	if err != nil {
		return nil, fmt.Errorf("count pairs: %w", err)
	}
	return b, nil
}

func (s *Store) histogram(ctx context.Context, h store.Histogram) (*store.Buckets, error) {
	extent, err := s.Extent(ctx)
	if err != nil {
		return nil, err
	}
	b := store.NewBuckets(h, extent)
	if len(b.Counts) == 0 {
		return b, nil
	}
	if err := s.heavy.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer s.heavy.Release(1)

	if !index.Covered(h.Query) {
		partial, err := s.each(ctx, store.Selection{Query: h.Query, From: b.From, To: b.To, ScanBudget: h.ScanBudget}, func(_ uint64, st *store.Stored) {
			b.Add(store.Time(st.Pair), st.Pair.GetStatus(), store.Weight(st.Pair))
		})
		b.Partial = partial != nil
		return b, err
	}
	c, err := s.search(ctx, h.Query, b.From, b.To, nil, false, h.ScanBudget)
	if err != nil {
		return nil, err
	}
	if !c.exact {
		for {
			r, err := c.next(ctx)
			if errors.Is(err, store.ErrPartial) {
				b.Partial = true
				return b, nil
			}
			if err != nil {
				return nil, err
			}
			if r == nil {
				return b, nil
			}
			st, err := c.decide(ctx, r)
			if err != nil {
				return nil, err
			}
			if st != nil {
				b.Add(r.Time, r.Status, r.Weight)
			}
		}
	}

	err = s.use(ctx, func(x index.Index) error {
		counts, err := x.Count(ctx, index.Count{
			Selection: index.Selection{Query: h.Query, From: b.From, To: b.To, Below: c.snap.below},
			Step:      b.Step, Buckets: len(b.Counts),
		})
		if err == nil {
			b.Counts, b.Estimated = counts.Rows, counts.Weighted
			b.Sampled = !slices.Equal(counts.Rows, counts.Weighted)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, r := range c.pending {
		st, err := c.decide(ctx, r)
		if err != nil {
			return nil, err
		}
		if st != nil {
			b.Add(r.Time, r.Status, r.Weight)
		}
	}
	return b, nil
}
