package httpv1

import "time"

// Limits of errors, heatmaps and differences.
const (
	DefaultErrorGroups  = 100
	MaxErrorGroups      = 500
	DefaultHeatmapSteps = 120
	MaxHeatmapSteps     = 300
	DefaultDifferences  = 5
	MaxDifferences      = 100
)

// Errors are exchanges that failed, grouped by what they say.
type Errors struct {
	From          time.Time    `json:"from"`
	To            time.Time    `json:"to"`
	StepNS        int64        `json:"step_ns" doc:"How long a step of a group's counts is; 0 where nothing is stored."`
	Groups        []ErrorGroup `json:"groups" doc:"The most frequent first."`
	Content       bool         `json:"content" doc:"Bodies were looked into. Without the role investigator they are not: then groups tell status and endpoint apart, and only errors of capture by what they say."`
	Read          uint64       `json:"read" doc:"Bodies that were looked into, the newest ones."`
	ReadOf        uint64       `json:"read_of" doc:"Exchanges that failed with an answer."`
	More          bool         `json:"more" doc:"There may be groups that are not listed."`
	Sampled       bool         `json:"sampled" doc:"Some pairs were kept by sampling."`
	Partial       bool         `json:"partial" doc:"Not everything was looked at; see partial_reason and each group's exact."`
	PartialReason string       `json:"partial_reason"`
}

// ErrorGroup is exchanges of one endpoint that failed in the same way.
type ErrorGroup struct {
	Key      string    `json:"key" doc:"The same for the same template, app, method, endpoint and status, at any time."`
	Template string    `json:"template" doc:"What they say, without numbers, ids and quoted words." example:"order {n} not found"`
	App      string    `json:"app"`
	Method   string    `json:"method"`
	Endpoint string    `json:"endpoint" example:"/orders/{id}"`
	Status   int32     `json:"status" doc:"0 where there is no response."`
	Kind     string    `json:"kind" enum:"error,body,status" doc:"Where the template is from: error is why there is no whole response; body is what responses say; status is no more than that, since they say nothing or were not looked into."`
	Pairs    uint64    `json:"pairs" doc:"How many; where exact is false the part that it is of those that were looked into, of all."`
	Exact    bool      `json:"exact" doc:"All that could belong to the group were looked into, so that pairs is exact, and no other group hides."`
	Read     uint64    `json:"read" doc:"Bodies that were looked into and say so."`
	First    time.Time `json:"first" doc:"The oldest; where exact is false there may be older ones."`
	Last     time.Time `json:"last"`
	Steps    []uint64  `json:"steps" doc:"Pairs over time, from from on; where exact is false they are estimates."`
	Example  string    `json:"example" format:"uuid" doc:"The newest one that is known; empty where retention has removed them."`
	Query    string    `json:"query" doc:"A query that lists them: q of the question, and what tells the group from others."`
}

// Heatmap counts pairs by time and duration.
type Heatmap struct {
	From          time.Time       `json:"from"`
	To            time.Time       `json:"to"`
	StepNS        int64           `json:"step_ns" doc:"How long a column is; 0 where nothing is stored."`
	Bands         []HeatmapBand   `json:"bands" doc:"Durations, ascending without a gap: four to each power of two."`
	Columns       []HeatmapColumn `json:"columns"`
	Pairs         uint64          `json:"pairs" doc:"Pairs that match."`
	Absent        uint64          `json:"absent" doc:"Those without a duration, which are in no column."`
	Sampled       bool            `json:"sampled" doc:"Some pairs were kept by sampling; here each counts once."`
	Partial       bool            `json:"partial"`
	PartialReason string          `json:"partial_reason"`
}

// HeatmapBand is durations from from_ns on, below to_ns.
type HeatmapBand struct {
	FromNS int64 `json:"from_ns"`
	ToNS   int64 `json:"to_ns"`
}

// HeatmapColumn is one step of the time.
type HeatmapColumn struct {
	Time   time.Time `json:"time" doc:"Its beginning."`
	Counts []uint64  `json:"counts" doc:"Pairs in each band."`
}

// Difference ranks values that are more frequent in a part of the pairs.
type Difference struct {
	Inside        uint64            `json:"inside" doc:"Pairs of the part."`
	Outside       uint64            `json:"outside" doc:"All others that match q."`
	Values        []DifferenceValue `json:"values" doc:"The greatest difference of shares first; without what may well be chance (three standard errors)."`
	Partial       bool              `json:"partial"`
	PartialReason string            `json:"partial_reason"`
}

// DifferenceValue is one value and how frequent it is.
type DifferenceValue struct {
	Field        string  `json:"field" example:"app" doc:"A field of the query language."`
	Value        string  `json:"value"`
	Inside       uint64  `json:"inside" doc:"Pairs of the part that have it."`
	Outside      uint64  `json:"outside"`
	InsideShare  float64 `json:"inside_share" doc:"Of the part, from 0 to 1."`
	OutsideShare float64 `json:"outside_share"`
	Query        string  `json:"query" doc:"The value as a term of a query." example:"app:checkout"`
}
