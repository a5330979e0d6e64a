package duckindex

import (
	"context"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"sync"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
)

// cache keeps sums over spans of time that nothing is added to any more. A sum
// leaves it when rows come that are of its span, late or not, and all do when
// rows go or change.
type cache struct {
	mu      sync.Mutex
	entries map[string]*entry
	// uses counts, so that it is known which entry was of no use for longest.
	// hits counts the sums that were there.
	uses, hits uint64
}

// maxEntries bounds the sums that are kept; each is as long as its question's
// limit allows.
const maxEntries = 64

type entry struct {
	from, to int64
	// below is the offset up to which rows were counted.
	below uint64
	// value is nil while the sum is being made.
	value any
	used  uint64
}

// find gives the sum of a key, if it is there and counts no more rows than are
// asked for.
func (c *cache) find(key string, below uint64) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[key]
	if e == nil || e.below > below {
		return nil
	}
	if e.value != nil {
		c.hits++
	}
	c.uses++
	e.used = c.uses
	return e.value
}

// begin makes an entry for a sum that is about to be made, unless rows are in
// the index that it does not count. watermark is read while nothing can be
// added between that and the entry.
func (c *cache) begin(key string, s index.Selection, watermark func() uint64) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.Below < watermark() {
		return nil
	}
	if c.entries == nil {
		c.entries = map[string]*entry{}
	}
	if len(c.entries) >= maxEntries {
		oldest, least := "", uint64(math.MaxUint64)
		for k, e := range c.entries {
			if e.used < least {
				oldest, least = k, e.used
			}
		}
		delete(c.entries, oldest)
	}
	c.uses++
	e := &entry{from: s.From, to: s.To, below: min(s.Below, watermark()), used: c.uses}
	c.entries[key] = e
	return e
}

// end puts the value of an entry in place, if it holds still; nil takes the
// entry away.
func (c *cache) end(key string, e *entry, value any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.entries[key] != e:
	case value == nil:
		delete(c.entries, key)
	default:
		e.value = value
	}
}

// added forgets what new rows are of. Their watermark has to be known already.
func (c *cache) added(rows []index.Row) {
	if len(rows) == 0 {
		return
	}
	var s index.Stats
	for i := range rows {
		s.Add(&rows[i])
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, e := range c.entries {
		if e.from <= s.Newest && s.Oldest < e.to {
			delete(c.entries, k)
		}
	}
}

// changed forgets everything.
func (c *cache) changed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.entries)
}

// kept gives the sum of a key from the cache, or makes it and keeps it where
// whole says so. clone keeps what is in the cache apart from what callers have.
func kept[T any](ctx context.Context, x *Index, key string, s index.Sum, clone func(T) T, whole func(T) bool, do func(context.Context) (T, error)) (T, error) {
	if len(s.Extra) > 0 {
		return soon(ctx, x, do)
	}
	key = fmt.Sprintf("%s|%d|%d|%s", key, s.From, s.To, s.Query)
	if v, ok := x.cache.find(key, s.Below).(T); ok && ctx.Err() == nil {
		return clone(v), nil
	}
	e := x.cache.begin(key, s.Selection, x.Watermark)
	v, err := soon(ctx, x, do)
	if e != nil {
		var value any
		if err == nil && whole(v) {
			value = clone(v)
		}
		x.cache.end(key, e, value)
	}
	return v, err
}

func cloneCounts(c index.Counts) index.Counts {
	return index.Counts{Rows: slices.Clone(c.Rows), Weighted: slices.Clone(c.Weighted)}
}

func cloneFacets(f *store.FacetCounts) *store.FacetCounts {
	c := *f
	c.Facets = slices.Clone(f.Facets)
	for i := range c.Facets {
		c.Facets[i].Values = slices.Clone(f.Facets[i].Values)
	}
	return &c
}

func cloneEndpoints(e *store.EndpointList) *store.EndpointList {
	c := *e
	c.Endpoints = slices.Clone(e.Endpoints)
	return &c
}

func cloneEdges(e *store.EdgeList) *store.EdgeList {
	c := *e
	c.Edges = slices.Clone(e.Edges)
	return &c
}

func cloneErrors(e *index.ErrorList) *index.ErrorList {
	c := *e
	c.Lines = slices.Clone(e.Lines)
	for i := range c.Lines {
		c.Lines[i].Steps = slices.Clone(c.Lines[i].Steps)
		c.Lines[i].Newest = slices.Clone(c.Lines[i].Newest)
	}
	c.Rows = slices.Clone(e.Rows)
	for i := range c.Rows {
		c.Rows[i] = slices.Clone(c.Rows[i])
	}
	return &c
}

func cloneHeatmap(h *store.HeatmapCounts) *store.HeatmapCounts {
	c := *h
	c.Bands = slices.Clone(h.Bands)
	c.Counts = slices.Clone(h.Counts)
	for i := range c.Counts {
		c.Counts[i] = slices.Clone(c.Counts[i])
	}
	return &c
}

func cloneDifference(d *store.DifferenceList) *store.DifferenceList {
	c := *d
	c.Values = slices.Clone(d.Values)
	return &c
}

var seed = maphash.MakeSeed()

// fingerprint tells sets of addresses apart, whatever their order.
func fingerprint(a *index.Addresses) (sum uint64) {
	for address, app := range a.All() {
		sum += maphash.Comparable(seed, [2]string{address, app})
	}
	return sum
}
