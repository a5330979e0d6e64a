// Package sums adds up rows in memory as an index does in its tables: facets,
// endpoints and edges of pairs that had to be looked at one by one. Each sum is
// bounded: beyond so many different lines it counts no new ones, and says so.
package sums

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
)

// Bounds of one sum.
const (
	// maxLines bounds the endpoints or edges, and the values of one field.
	maxLines = 100_000
	// maxExact bounds the durations that are kept; beyond them there are only
	// buckets.
	maxExact = 2_000_000
)

// Limits of answers where the question has none.
const (
	DefaultValues = 10
	DefaultLines  = 1000
)

// Limit is what a question's limit means.
func Limit(limit, otherwise int) int {
	if limit <= 0 {
		return otherwise
	}
	return limit
}

// add does not wrap: sizes are what a peer claimed.
func add(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}

// tooMany is why an answer is partial.
func tooMany(what string, left uint64) *store.PartialError {
	if left == 0 {
		return nil
	}
	return &store.PartialError{Reason: fmt.Sprintf("more than %d %s; %d pairs of others are left out", maxLines, what, left)}
}

// IsError reports whether a row counts as an error.
func IsError(r *index.Row) bool { return store.StatusClass(r.Status) == 5 || r.Error != "" }

// durations are those of one line, exact or by bucket.
type durations struct {
	exact   []int64
	buckets map[int16]uint64
	n       uint64
	max     int64
}

func (d *durations) add(r *index.Row) {
	if r.Duration == index.Absent {
		return
	}
	if d.n == 0 || r.Duration > d.max {
		d.max = r.Duration
	}
	d.n++
	if d.buckets == nil {
		d.exact = append(d.exact, r.Duration)
		return
	}
	d.buckets[index.BucketOf(r.Duration)]++
}

// coarsen keeps buckets in place of durations.
func (d *durations) coarsen() {
	d.buckets = map[int16]uint64{}
	for _, v := range d.exact {
		d.buckets[index.BucketOf(v)]++
	}
	d.exact = nil
}

func (d *durations) longest() int64 {
	if d.n == 0 {
		return index.Absent
	}
	return d.max
}

// quantiles are nearest ranks: the smallest duration that at least so many
// percent do not exceed. They are ascending.
func (d *durations) quantiles(percent ...uint64) []int64 {
	out := make([]int64, len(percent))
	if d.n == 0 {
		for i := range out {
			out[i] = index.Absent
		}
		return out
	}
	if d.buckets == nil {
		slices.Sort(d.exact)
		for i, p := range percent {
			out[i] = d.exact[rank(d.n, p)]
		}
		return out
	}
	keys := make([]int16, 0, len(d.buckets))
	for k := range d.buckets {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for i, p := range percent {
		left := rank(d.n, p)
		for _, k := range keys {
			if left < d.buckets[k] {
				out[i] = index.BucketValue(k)
				break
			}
			left -= d.buckets[k]
		}
	}
	return out
}

// rank is the place of a percentile among n, from 0.
func rank(n, percent uint64) uint64 { return (n*percent+99)/100 - 1 }

// table is lines by their key, and whether their durations are exact.
type table[K comparable, L any] struct {
	lines map[K]*L
	// kept counts durations as long as they are exact.
	kept   int
	coarse bool
	left   uint64
}

// line finds the line of a key, or makes it; nil when there are too many.
func (t *table[K, L]) line(key K, make1 func() *L) *L {
	l := t.lines[key]
	if l == nil {
		if len(t.lines) >= maxLines {
			t.left++
			return nil
		}
		if t.lines == nil {
			t.lines = map[K]*L{}
		}
		l = make1()
		t.lines[key] = l
	}
	return l
}

// take adds the row's duration to one of the lines; all gives the others.
func (t *table[K, L]) take(d *durations, r *index.Row, of func(*L) *durations) {
	if t.coarse && d.buckets == nil {
		d.coarsen()
	}
	d.add(r)
	if t.coarse {
		return
	}
	if t.kept++; t.kept > maxExact {
		t.coarse = true
		for _, l := range t.lines {
			of(l).coarsen()
		}
	}
}

// Endpoints sums up rows by endpoint. The zero value is an empty sum.
type Endpoints struct {
	t table[endpointKey, endpointLine]
}

type endpointKey struct{ app, host, method, endpoint string }

type endpointLine struct {
	store.EndpointStats
	durations durations
}

// Add counts a row. It is only read.
func (e *Endpoints) Add(r *index.Row) {
	key := endpointKey{r.App, r.Host, r.Method, r.Endpoint}
	l := e.t.line(key, func() *endpointLine {
		return &endpointLine{EndpointStats: store.EndpointStats{
			App: r.App, Host: r.Host, Method: r.Method, Endpoint: r.Endpoint, First: r.Time, Last: r.Time,
		}}
	})
	if l == nil {
		return
	}
	l.Pairs++
	l.Estimated += uint64(r.Weight)
	if IsError(r) {
		l.Errors++
	}
	l.RequestBytes = add(l.RequestBytes, uint64(r.RequestSize))
	l.ResponseBytes = add(l.ResponseBytes, uint64(r.ResponseSize))
	l.First, l.Last = min(l.First, r.Time), max(l.Last, r.Time)
	l.StatusClasses[store.StatusClass(r.Status)]++
	e.t.take(&l.durations, r, func(l *endpointLine) *durations { return &l.durations })
}

// List is the answer: see store.Endpoints for limit.
func (e *Endpoints) List(limit int) *store.EndpointList {
	limit = Limit(limit, DefaultLines)
	lines := make([]*endpointLine, 0, len(e.t.lines))
	for _, l := range e.t.lines {
		lines = append(lines, l)
	}
	slices.SortFunc(lines, func(a, b *endpointLine) int {
		return cmp.Or(cmp.Compare(b.Pairs, a.Pairs), cmp.Compare(a.App, b.App), cmp.Compare(a.Host, b.Host),
			cmp.Compare(a.Method, b.Method), cmp.Compare(a.Endpoint, b.Endpoint))
	})
	out := &store.EndpointList{Exact: !e.t.coarse, More: len(lines) > limit, Partial: tooMany("endpoints", e.t.left)}
	for _, l := range lines[:min(limit, len(lines))] {
		q := l.durations.quantiles(50, 95, 99)
		l.Max = l.durations.longest()
		// The middle of a bucket may be above all that is in it.
		l.P50, l.P95, l.P99 = min(q[0], l.Max), min(q[1], l.Max), min(q[2], l.Max)
		out.Endpoints = append(out.Endpoints, l.EndpointStats)
	}
	return out
}

// Edges sums up rows by who called whom.
type Edges struct {
	known *index.Addresses
	t     table[index.Edge, edgeLine]
}

type edgeLine struct {
	store.Edge
	durations durations
}

// NewEdges makes an empty sum. known, which may be nil, is only read.
func NewEdges(known *index.Addresses) *Edges { return &Edges{known: known} }

// Add counts a row. It is only read.
func (e *Edges) Add(r *index.Row) {
	key := index.EdgeOf(r).Named(e.known)
	l := e.t.line(key, func() *edgeLine {
		return &edgeLine{Edge: store.Edge{From: key.From, To: key.To, Protocol: key.Protocol, Last: r.Time}}
	})
	if l == nil {
		return
	}
	l.Pairs++
	l.Estimated += uint64(r.Weight)
	if IsError(r) {
		l.Errors++
	}
	l.Last = max(l.Last, r.Time)
	e.t.take(&l.durations, r, func(l *edgeLine) *durations { return &l.durations })
}

// List is the answer: see store.Edges for limit.
func (e *Edges) List(limit int) *store.EdgeList {
	limit = Limit(limit, DefaultLines)
	lines := make([]*edgeLine, 0, len(e.t.lines))
	for _, l := range e.t.lines {
		lines = append(lines, l)
	}
	slices.SortFunc(lines, func(a, b *edgeLine) int {
		return cmp.Or(cmp.Compare(b.Pairs, a.Pairs), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Protocol, b.Protocol))
	})
	out := &store.EdgeList{Exact: !e.t.coarse, More: len(lines) > limit, Partial: tooMany("edges", e.t.left)}
	for _, l := range lines[:min(limit, len(lines))] {
		q := l.durations.quantiles(50, 95)
		l.P50, l.P95 = q[0], q[1]
		out.Edges = append(out.Edges, l.Edge)
	}
	return out
}
