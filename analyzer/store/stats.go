package store

import (
	"context"
	"iter"

	"github.com/weir-capture/weir/query"
)

// Stats answers with sums instead of pairs. As with Reader, every call ends
// soon after its context does (200 ms at most) with the context's error, and
// what the index does not have yet is merged in.
type Stats interface {
	// Facets counts the values of fields.
	Facets(ctx context.Context, f Facets) (*FacetCounts, error)
	// Endpoints tells of each endpoint how often, how well and how fast it
	// answered.
	Endpoints(ctx context.Context, e Endpoints) (*EndpointList, error)
	// Edges tells who called whom.
	Edges(ctx context.Context, e Edges) (*EdgeList, error)
	// Errors tells what failed, where and since when.
	Errors(ctx context.Context, e Errors) (*ErrorList, error)
	// Heatmap counts pairs by time and duration.
	Heatmap(ctx context.Context, h Heatmap) (*HeatmapCounts, error)
	// Difference tells what a part of the pairs has more often than the rest.
	Difference(ctx context.Context, d Difference) (*DifferenceList, error)
}

// Scanner reads pairs in the store's own order.
type Scanner interface {
	// Scan yields whole pairs that match in the order in which they became
	// durable, up to what was durable when it began. It has no budget: it is
	// bounded by its context and by its consumer, holds a bounded number of
	// frames however much there is, and a pair that retention removes
	// meanwhile is left out. What cannot be read is passed over, and told of
	// behind all others, by a *PartialError with Unreadable. The sequence is
	// single-use; an error is yielded once, as the last element.
	Scan(ctx context.Context, s Scan) iter.Seq2[*Stored, error]
}

// Selection is which pairs: those that match a query, in [From, To) of Time,
// Unix nanoseconds; 0 leaves a side open.
type Selection struct {
	Query    *query.Query // nil selects all
	From, To int64
	// ScanBudget is as in List.
	ScanBudget int64
}

// Progress is how far the look into frames has got, in bytes of the log. Of
// grows no more once it is known.
type Progress struct{ Scanned, Of int64 }

// Scan asks for everything that matches.
type Scan struct {
	Selection
	// After continues behind a place of the store's order (Stored.Seq).
	After uint64
	// Progress, when set, is told now and then how far it is, by the goroutine
	// that consumes.
	Progress func(Progress)
}

// Facets asks for the most frequent values of fields.
type Facets struct {
	Selection
	// Fields are those that FacetFields lists; another one is an error.
	Fields []string
	// Limit bounds the values of each field; 0 is 10.
	Limit int
	// Prefix leaves out values that do not begin with it, whatever the case of
	// ASCII letters. What it leaves out is in none of the counts of a Facet.
	Prefix string
}

// FacetCounts answers Facets, one entry for each field, in their order.
type FacetCounts struct {
	Facets []Facet
	// Pairs match in all; Estimated counts each by its weight.
	Pairs, Estimated uint64
	// Partial, when not nil, says why not everything was counted.
	Partial *PartialError
}

// Facet is one field's values, the most frequent first, equal ones by value.
type Facet struct {
	Field  string
	Values []FacetValue
	// Others counts the pairs whose value is not among Values, Absent those
	// that have none, Distinct all values. A pair with several flags counts for
	// each of them.
	Others, Absent, Distinct uint64
}

// FacetFields lists the fields whose values can be counted: those that have
// texts, states or codes, and that no frame has to be opened for.
func FacetFields() []string {
	return []string{
		"app", "pod", "namespace", "cluster", "direction", "protocol", "method", "path", "endpoint",
		"host", "status", "error", "client", "server", "flag",
	}
}

// FacetValue is a value, without quotes, and how many pairs have it. Addresses
// of clients and servers are without their port.
type FacetValue struct {
	Value            string
	Pairs, Estimated uint64
}

// Endpoints asks for one line for each (app, host, method, endpoint).
type Endpoints struct {
	Selection
	// Limit bounds the lines; 0 is 1,000. The most frequent stay.
	Limit int
}

// EndpointList answers Endpoints, the most frequent first.
type EndpointList struct {
	Endpoints []EndpointStats
	// Exact: percentiles are those of all durations; otherwise they come from
	// logarithmic buckets, each at most 2 % wide.
	Exact bool
	// More: there were more lines than Limit.
	More    bool
	Partial *PartialError
}

// EndpointStats sums the pairs of one endpoint. Durations are nanoseconds of
// those pairs that have one, Absent (-1) when none has; sizes are bytes.
type EndpointStats struct {
	App, Host, Method, Endpoint string
	Pairs, Estimated            uint64
	// Errors are pairs with status 5xx or an error.
	Errors        uint64
	P50, P95, P99 int64
	Max           int64
	RequestBytes  uint64
	ResponseBytes uint64
	First, Last   int64
	StatusClasses [6]uint64
}

// Edges asks who called whom.
type Edges struct {
	Selection
	Limit int // 0 is 1,000
}

// EdgeList answers Edges, the most frequent first.
type EdgeList struct {
	Edges []Edge
	// Exact is as in EndpointList.
	Exact   bool
	More    bool
	Partial *PartialError
}

// Edge is one caller and one callee. Of inbound pairs From is the client, its
// address without the port or, where it is known, the app that has that address;
// To is the app. Of outbound pairs From is the app, and To the host without its
// port or, where none was named, the server in the way of a client. An address
// is known where it is that of the client of an app's outbound pairs, or of the
// server of its inbound ones and no loopback address, and of one app only.
type Edge struct {
	From, To         string
	Protocol         string
	Pairs, Estimated uint64
	Errors           uint64
	// P50 and P95 are as in EndpointStats.
	P50, P95 int64
	Last     int64
}
