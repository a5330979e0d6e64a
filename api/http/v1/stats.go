package httpv1

import "time"

// Limits of statistics, exports and imports.
const (
	DefaultFacetValues = 10
	MaxFacetValues     = 1000
	MaxFacetFields     = 16
	DefaultLines       = 100
	MaxLines           = 10_000
	// MaxPrefixLen is the length of a prefix in bytes.
	MaxPrefixLen = 256
	// MaxImportErrors is how many mistakes an import lists.
	MaxImportErrors = 100
)

// Facets counts the values of fields.
type Facets struct {
	Facets        []Facet `json:"facets" doc:"One for each field, in the order in which they were asked for."`
	Pairs         uint64  `json:"pairs" doc:"Pairs that match."`
	Estimated     uint64  `json:"estimated" doc:"pairs, each counted for as many as it stands for; equal to pairs where nothing was sampled."`
	Sampled       bool    `json:"sampled" doc:"Some pairs were kept by sampling: estimated is how many there were."`
	Partial       bool    `json:"partial" doc:"A limit was reached before everything was counted: counts are at least these."`
	PartialReason string  `json:"partial_reason" doc:"Which limit; empty when everything was counted."`
}

// Facet is one field's values, the most frequent first.
type Facet struct {
	Field    string       `json:"field"`
	Values   []FacetValue `json:"values"`
	Others   uint64       `json:"others" doc:"Pairs whose value is not among values."`
	Absent   uint64       `json:"absent" doc:"Pairs without a value."`
	Distinct uint64       `json:"distinct" doc:"How many values there are; an estimate above 10,000."`
}

// FacetValue is a value and how many pairs have it.
type FacetValue struct {
	Value     string `json:"value" doc:"As it was captured, without quotes."`
	Pairs     uint64 `json:"pairs"`
	Estimated uint64 `json:"estimated"`
}

// Values are a field's values, for completion.
type Values struct {
	Field         string       `json:"field"`
	Values        []FacetValue `json:"values" doc:"The most frequent first."`
	More          bool         `json:"more" doc:"There are more than limit."`
	Partial       bool         `json:"partial"`
	PartialReason string       `json:"partial_reason"`
}

// Endpoints tells of each endpoint how often, how well and how fast it
// answered.
type Endpoints struct {
	From          *time.Time `json:"from" doc:"As it was asked for; null for an open side."`
	To            *time.Time `json:"to"`
	Endpoints     []Endpoint `json:"endpoints" doc:"The most frequent first."`
	Exact         bool       `json:"exact" doc:"Percentiles are those of all durations; otherwise each is within 2 %."`
	More          bool       `json:"more" doc:"There are more lines than limit."`
	Sampled       bool       `json:"sampled" doc:"Some pairs were kept by sampling: estimated is how many there were."`
	Partial       bool       `json:"partial"`
	PartialReason string     `json:"partial_reason"`
}

// Endpoint is one line. Durations are of the pairs that have one, and null
// when none has.
type Endpoint struct {
	App           string      `json:"app"`
	Host          string      `json:"host"`
	Method        string      `json:"method"`
	Endpoint      string      `json:"endpoint" example:"/orders/{id}"`
	Pairs         uint64      `json:"pairs"`
	Estimated     uint64      `json:"estimated"`
	Errors        uint64      `json:"errors" doc:"Pairs with a status 5xx or an error."`
	P50NS         *int64      `json:"p50_ns"`
	P95NS         *int64      `json:"p95_ns"`
	P99NS         *int64      `json:"p99_ns"`
	MaxNS         *int64      `json:"max_ns"`
	RequestBytes  uint64      `json:"request_bytes" doc:"Bytes of all requests' bodies."`
	ResponseBytes uint64      `json:"response_bytes"`
	First         *time.Time  `json:"first"`
	Last          *time.Time  `json:"last"`
	Classes       ClassCounts `json:"classes" doc:"Pairs by status class."`
}

// Map tells who calls whom.
type Map struct {
	From          *time.Time `json:"from"`
	To            *time.Time `json:"to"`
	Edges         []Edge     `json:"edges" doc:"The most frequent first."`
	More          bool       `json:"more" doc:"There are more than limit."`
	Sampled       bool       `json:"sampled"`
	Partial       bool       `json:"partial"`
	PartialReason string     `json:"partial_reason"`
}

// Edge is one caller and one callee.
type Edge struct {
	Caller    string     `json:"caller" doc:"The app that has the client's address, where one is known; else the address without its port."`
	Callee    string     `json:"callee" doc:"The app."`
	Protocol  string     `json:"protocol"`
	Pairs     uint64     `json:"pairs"`
	Estimated uint64     `json:"estimated"`
	Errors    uint64     `json:"errors"`
	P50NS     *int64     `json:"p50_ns"`
	P95NS     *int64     `json:"p95_ns"`
	Last      *time.Time `json:"last"`
}

// Explain says how a query is answered.
type Explain struct {
	Canonical string        `json:"canonical" doc:"The query as it was understood; empty selects everything."`
	Steps     []ExplainStep `json:"steps" doc:"In the order in which they are taken."`
	Scans     bool          `json:"scans" doc:"Stored frames are opened to answer it, newest first and within a budget; a list tells how far it got."`
}

// ExplainStep is one step of an answer.
type ExplainStep struct {
	By   string `json:"by" enum:"index,rows,words,frames" doc:"Who takes it. index: its columns decide. rows: each is looked at. words: frames without them are passed over. frames: what is left is opened."`
	Part string `json:"part" doc:"The part of the query; of words what is looked for."`
	Text string `json:"text" doc:"What is done, for people."`
}

// Import is what became of a file.
type Import struct {
	Format   string        `json:"format"`
	Stored   uint64        `json:"stored" doc:"Pairs that are durable now and were not before."`
	Known    uint64        `json:"known" doc:"Pairs left out because the store has their id already."`
	Rejected uint64        `json:"rejected" doc:"Entries that could not be read."`
	Complete bool          `json:"complete" doc:"The file was read to its end."`
	Errors   []ImportError `json:"errors" doc:"The first of what was wrong, in the order of the file."`
}

// ImportError is what is wrong with one entry.
type ImportError struct {
	Entry   int64  `json:"entry" doc:"Which pair of the file, from 1."`
	Line    int64  `json:"line" doc:"Where it begins, from 1; 0 in formats without lines."`
	Message string `json:"message"`
	Want    string `json:"want" doc:"What would be right; may be empty."`
}
