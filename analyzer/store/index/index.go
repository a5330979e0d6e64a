package index

import (
	"context"
	"errors"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/query"
)

// ErrBroken: the index cannot be trusted or used any more and has to be made
// again. Errors of an Index wrap it where that is so; all others are passing
// (a full disk, a cancelled context).
var ErrBroken = errors.New("index is broken")

// Index keeps rows. Its methods may be called from several goroutines, but
// those that change it only from one at a time. Close waits for calls under
// way.
type Index interface {
	// Watermark is the offset in the log up to which every pair has its row.
	Watermark() uint64
	// Insert adds rows and moves the watermark, both or neither.
	Insert(ctx context.Context, rows []Row, watermark uint64) error
	// Remove removes the rows of records in [from, to).
	Remove(ctx context.Context, from, to uint64) error
	// Erase removes the rows of pairs.
	Erase(ctx context.Context, ids []store.ID) error
	// Purge gives an index with the same rows in files that have nothing of
	// those that were removed. The index that it is called of goes on answering
	// until it is closed; its files are gone then. Nothing may change rows
	// meanwhile, or after that in the old one.
	Purge(ctx context.Context) (Index, error)
	// Stats counts the rows.
	Stats(ctx context.Context) (Stats, error)
	// Find tells where one pair stands, or store.ErrNotFound: of its row there
	// are ID, Off, Idx, At and Time, which takes a tenth of reading them all.
	Find(ctx context.Context, id store.ID) (Row, error)
	// Exact reports whether Rows and Count decide a query alone. If not, what
	// Rows gives has to be looked at again, and Count cannot answer.
	Exact(q *query.Query) bool
	// Rows is one page: every row that fits, and some that do not where the
	// query is not exact.
	Rows(ctx context.Context, p Page) ([]Row, error)
	// Records lists the records that have rows in the selection, each once and
	// in no order: all with a row that fits, and others where the query is not
	// exact.
	Records(ctx context.Context, s Selection) ([]Record, error)
	// Count is a histogram of an exact query: rows by bucket and status class.
	Count(ctx context.Context, c Count) (Counts, error)
	// Those that follow are final answers to exact queries; what they return is
	// the caller's. One that would take too long or too much memory is partial.
	Facets(ctx context.Context, f Facets) (*store.FacetCounts, error)
	Endpoints(ctx context.Context, e Endpoints) (*store.EndpointList, error)
	Edges(ctx context.Context, e Edges) (*store.EdgeList, error)
	Errors(ctx context.Context, e Errors) (*ErrorList, error)
	Heatmap(ctx context.Context, h Heatmap) (*store.HeatmapCounts, error)
	Difference(ctx context.Context, d Difference) (*store.DifferenceList, error)
	// Addresses are those that the rows tell of. The caller owns them.
	Addresses(ctx context.Context) (*Addresses, error)
	Close() error
}

// Stats is what an index holds; times are Unix nanoseconds, of Row.Time.
type Stats struct {
	Rows           uint64
	Oldest, Newest int64
}

// Add takes one more row into account.
func (s *Stats) Add(r *Row) {
	if s.Rows == 0 {
		s.Oldest, s.Newest = r.Time, r.Time
	}
	s.Rows++
	s.Oldest, s.Newest = min(s.Oldest, r.Time), max(s.Newest, r.Time)
}

// Selection is which rows.
type Selection struct {
	Query *query.Query // nil selects all
	// From is included, To is not. Unix nanoseconds.
	From, To int64
	// Below leaves out records at and after this offset: they are looked for
	// elsewhere.
	Below uint64
}

// Page asks for rows, the newest by (time, id) first.
type Page struct {
	Selection
	// Before leaves out this place and what is newer.
	Before *store.Key
	Limit  int
	// Pointers asks only for ID, Off, Idx, At and Time.
	Pointers bool
}

// Count asks for Buckets counts of Step nanoseconds each, from From on. To is
// at most the end of the last.
type Count struct {
	Selection
	Step    int64
	Buckets int
}

// Counts answers a Count. Both have an entry for each bucket.
type Counts struct {
	// Rows counts each once, Weighted as often as its pair's weight.
	Rows, Weighted [][6]uint64
}

// Record is a record of the log with rows in a selection.
type Record struct {
	Off uint64
	// Oldest and Newest are of Row.Time of those rows.
	Oldest, Newest int64
	Rows           uint32
}

// Sum is which rows are counted.
type Sum struct {
	Selection
	// Extra rows are counted with those of the selection as they are: they
	// match, and the index does not have them yet.
	Extra []*Row
}

// Facets asks as store.Facets does.
type Facets struct {
	Sum
	Fields []string
	Limit  int
	Prefix string
}

// Endpoints asks as store.Endpoints does.
type Endpoints struct {
	Sum
	Limit int
}

// Edges asks as store.Edges does.
type Edges struct {
	Sum
	Limit int
	// Known are the addresses that have a name; nil for none.
	Known *Addresses
}

// Steps are Count parts of the time from From on, each Step nanoseconds long. All
// that is counted in them lies within.
type Steps struct {
	From, Step int64
	Count      int
}

// Errors asks as store.Errors does, whose Selection and Steps do not count.
type Errors struct {
	Sum
	Steps
	Ask store.Errors
}

// ErrorList answers Errors, without Whole.
type ErrorList struct {
	store.ErrorList
	// Rows say of each line where its Newest stand: they have ID, Off, Idx, At
	// and Time.
	Rows [][]Row
}

// Heatmap asks as store.Heatmap does.
type Heatmap struct {
	Sum
	Steps
}

// Difference asks as store.Difference does. In is exact.
type Difference struct {
	Sum
	In           *query.Query
	InFrom, InTo int64 // InTo is not 0
	Limit        int
	// Inside decides of Extra rows.
	Inside func(*Row) bool
}

// Covered reports whether a row has everything that a query asks about, so
// that a matcher can decide on Row.Stored alone.
func Covered(q *query.Query) bool {
	return q == nil || covered(q.Root)
}

func covered(n query.Node) bool {
	all := func(nodes []query.Node) bool {
		for _, c := range nodes {
			if !covered(c) {
				return false
			}
		}
		return true
	}
	switch n := n.(type) {
	case query.And:
		return all(n.Nodes)
	case query.Or:
		return all(n.Nodes)
	case query.Not:
		return covered(n.Node)
	case query.Term:
		switch n.Field {
		case query.FieldHeader, query.FieldRequestHeader, query.FieldResponseHeader,
			query.FieldBody, query.FieldRequestBody, query.FieldResponseBody, query.FieldJSON:
			return false
		}
		_, known := query.Lookup(n.Field)
		return known
	}
	return false // Text looks into everything
}
