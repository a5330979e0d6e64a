// Package httpv1 is what the analyzer's HTTP API says, version 1, as Go
// types: analyzer/web serves them, client reads them, and api/openapi.json is
// generated from them. The doc tags become that file's descriptions.
//
// Times are RFC 3339 with nanoseconds in UTC, durations are integers of
// nanoseconds and end in _ns, sizes are bytes. A list is never null. What did
// not happen is null, never a zero that could be read as a measurement.
package httpv1

import "time"

// Limits that callers may want to know.
const (
	DefaultLimit   = 100
	MaxLimit       = 1000
	DefaultBuckets = 60
	MaxBuckets     = 1000
	// MaxQueryLen is the length of q in bytes.
	MaxQueryLen = 8 << 10
)

// Row is a pair without its messages: one line of a list, and one event of a
// tail.
type Row struct {
	ID           string    `json:"id" format:"uuid" doc:"UUIDv7, made when the request started."`
	Time         time.Time `json:"time" doc:"When the request's first byte passed the proxy."`
	StoredAt     time.Time `json:"stored_at" doc:"When the pair became durable in the analyzer."`
	Cluster      string    `json:"cluster"`
	Namespace    string    `json:"namespace"`
	App          string    `json:"app"`
	Pod          string    `json:"pod" doc:"The instance that captured it (APP_POD_NAME)."`
	Direction    string    `json:"direction" enum:"inbound,outbound," doc:"As seen from the captured workload; empty when it is not known."`
	Protocol     string    `json:"protocol" doc:"Lower case: http, tls, redis, …; opaque when nothing matched." example:"http"`
	Method       string    `json:"method"`
	Host         string    `json:"host"`
	Path         string    `json:"path" doc:"Without the query."`
	Query        string    `json:"query" doc:"Without the question mark."`
	Endpoint     string    `json:"endpoint" doc:"The path with its variable parts named." example:"/orders/{id}"`
	Status       int32     `json:"status" doc:"0 when there is no response."`
	DurationNS   *int64    `json:"duration_ns" doc:"From the request's first byte to the response's last; null without a response."`
	TTFBNS       *int64    `json:"ttfb_ns" doc:"From the request's first byte to the response's first; null without a response."`
	RequestSize  uint64    `json:"request_size" doc:"The request's body in bytes, also when less of it was kept."`
	ResponseSize uint64    `json:"response_size" doc:"The response's body in bytes, also when less of it was kept."`
	Client       string    `json:"client" doc:"Who opened the connection, ip:port."`
	Server       string    `json:"server" doc:"The upstream, ip:port."`
	Conn         uint64    `json:"conn" doc:"Connection id within the proxy process."`
	Seq          uint64    `json:"seq" doc:"The pair's place on its connection, from 0."`
	Flags        []string  `json:"flags" enum:"truncated,body_shed,incomplete,no_response,midstream,gap,framing_ambiguous,redacted,withheld" doc:"What is not whole, or not as it was on the wire."`
	Error        string    `json:"error" doc:"Why there is no whole response; empty when all is well."`
	SampleWeight uint32    `json:"sample_weight" doc:"How many pairs this one stands for: more than 1 where its proxy sampled."`
}

// Pairs is one page of a list, newest first.
type Pairs struct {
	Pairs      []Row   `json:"pairs"`
	NextCursor *string `json:"next_cursor" doc:"Give it as cursor to go on; null on the last page."`
	Partial    bool    `json:"partial" doc:"A limit was reached before everything was looked at; what is here holds."`
	// PartialReason is for people.
	PartialReason string `json:"partial_reason" doc:"Which limit; empty when everything was looked at."`
	Scanned       int64  `json:"scanned" doc:"Bytes of stored frames that were looked into, where the index could not answer alone."`
	Of            int64  `json:"of" doc:"How many there are to look into; 0 when none had to be."`
}

// Pair is one pair, whole.
type Pair struct {
	Row
	Request    *Message          `json:"request,omitempty" doc:"Absent when no request was seen."`
	Response   *Message          `json:"response,omitempty" doc:"Absent when there is none; flags and error say why."`
	Timing     Timing            `json:"timing"`
	Redactions []Redaction       `json:"redactions" doc:"Which rule changed what, where, how often. Never the value."`
	Tags       map[string]string `json:"tags" doc:"Facts that only some protocols have, such as tls.sni."`
}

// Header is one field: its name and its value, as on the wire but for the
// white space around the value.
type Header [2]string

// Name is the field's name, as it was spelled.
func (h Header) Name() string { return h[0] }

// Value is the field's value.
func (h Header) Value() string { return h[1] }

// Message is one direction of a pair.
type Message struct {
	StartLine       string   `json:"start_line" doc:"Request line or status line; empty when the protocol has none."`
	Headers         []Header `json:"headers" doc:"[name, value] in wire order, duplicates kept. Bytes that are not UTF-8 are replaced here; raw has them."`
	Trailers        []Header `json:"trailers" doc:"[name, value] in wire order."`
	Body            string   `json:"body" doc:"What was kept of the body, after the transfer coding and before any content coding. See body_encoding."`
	BodyEncoding    string   `json:"body_encoding" enum:"text,base64" doc:"How body is written: as it is when it is UTF-8, else base64."`
	BodySize        uint64   `json:"body_size" doc:"Length of the whole body in bytes, also when less of it was kept."`
	BodyHash        string   `json:"body_hash" doc:"XXH3-128 of the whole body as 32 hexadecimal digits; empty when the body is empty or was not seen whole."`
	Truncated       bool     `json:"truncated" doc:"body holds less than body_size bytes."`
	WireSize        uint64   `json:"wire_size" doc:"Bytes of the message on the wire: head, framing, body, trailers."`
	ContentEncoding string   `json:"content_encoding" doc:"Codings that body still has, as the header names them; empty when there is none." example:"gzip"`
}

// Timing holds the moments of an exchange; what did not happen is null.
type Timing struct {
	Accepted      *time.Time `json:"accepted" doc:"The client's connection was accepted."`
	Connected     *time.Time `json:"connected" doc:"The upstream was connected."`
	RequestFirst  *time.Time `json:"request_first"`
	RequestLast   *time.Time `json:"request_last"`
	ResponseFirst *time.Time `json:"response_first"`
	ResponseLast  *time.Time `json:"response_last"`
}

// Redaction is one receipt.
type Redaction struct {
	Rule     string `json:"rule"`
	Location string `json:"location" example:"request.header.authorization"`
	Type     string `json:"type"`
	Count    uint32 `json:"count"`
}

// Dropped is the tail's event for pairs that were not sent, because its reader
// was too slow or came back with a cursor that leads nowhere. What is stored
// of them, a list has.
type Dropped struct {
	Count uint64 `json:"count" doc:"At least so many."`
}

// Histogram counts pairs over time.
type Histogram struct {
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	StepNS  int64     `json:"step_ns" doc:"Width of one bucket."`
	Buckets []Bucket  `json:"buckets"`
	Total   uint64    `json:"total"`
	Partial bool      `json:"partial" doc:"A limit was reached before everything was counted: counts are at least these."`
	Sampled bool      `json:"sampled" doc:"Some pairs were kept by sampling: estimated is how many there were."`
	// EstimatedTotal is Total scaled by what each pair stands for.
	EstimatedTotal uint64 `json:"estimated_total" doc:"total, each pair counted for as many as it stands for."`
}

// Bucket is one step of a histogram.
type Bucket struct {
	Time      time.Time   `json:"time" doc:"Where the bucket begins."`
	Counts    ClassCounts `json:"counts" doc:"Pairs that are stored."`
	Estimated ClassCounts `json:"estimated" doc:"The same, each pair counted for as many as it stands for; equal to counts where nothing was sampled."`
}

// ClassCounts counts pairs by status class.
type ClassCounts struct {
	None uint64 `json:"none" doc:"Pairs without a status."`
	C1xx uint64 `json:"1xx"`
	C2xx uint64 `json:"2xx"`
	C3xx uint64 `json:"3xx"`
	C4xx uint64 `json:"4xx"`
	C5xx uint64 `json:"5xx"`
}

// Proxies says who is connected, in what state.
type Proxies struct {
	Forwarders []Forwarder `json:"forwarders"`
	Proxies    []Proxy     `json:"proxies"`
}

// Forwarder is one forwarder as it last described itself.
type Forwarder struct {
	ForwarderID    string            `json:"forwarder_id"`
	Cluster        string            `json:"cluster"`
	Version        string            `json:"version"`
	LastSeen       time.Time         `json:"last_seen" doc:"By the analyzer's clock."`
	Started        *time.Time        `json:"started"`
	Connected      bool              `json:"connected"`
	ClockSkewNS    int64             `json:"clock_skew_ns" doc:"Its clock minus the analyzer's, when it was heard last."`
	Skewed         bool              `json:"skewed" doc:"The clock is off by more than 2 s."`
	Spool          Spool             `json:"spool"`
	DLPConfig      string            `json:"dlp_config" doc:"Name of the redaction rule set; empty when none is on."`
	FilterRule     string            `json:"filter_rule"`
	Filtered       map[string]uint64 `json:"filtered" doc:"Pairs filtered since it started, by rule."`
	Dropped        map[string]uint64 `json:"dropped" doc:"Pairs dropped since it started, by reason."`
	ProxiesOmitted uint32            `json:"proxies_omitted" doc:"Proxies that it knows and did not list."`
	FilterRules    []FilterRule      `json:"filter_rules" doc:"What filter_rule leaves out, in order."`
	Sampling       map[string]uint32 `json:"sampling" doc:"One connection in so many is kept, by app; * is for the others."`
	Destinations   []Destination     `json:"destinations"`
	// Unauthenticated is what its operator is to know.
	Unauthenticated bool       `json:"proxies_unauthenticated" doc:"It takes proxies that show no token and no certificate: PROXY_TOKENS_FILE or TLS_CLIENT_CA_FILE there refuses them."`
	Telemetry       *Telemetry `json:"telemetry" doc:"What it measured of itself; null unless TELEMETRY_INTERVAL and APP_POD_NAMESPACE are set there."`
}

// FilterRule is one rule of a forwarder's filter.
type FilterRule struct {
	Name       string `json:"name"`
	Expression string `json:"expression" doc:"In the query language; what it matches is left out."`
}

// Destination is one place that a forwarder sends to.
type Destination struct {
	Name         string            `json:"name"`
	Connected    bool              `json:"connected"`
	BacklogBytes uint64            `json:"backlog_bytes" doc:"Bytes of the spool that it has not taken."`
	BacklogETANS *int64            `json:"backlog_eta_ns" doc:"How long the backlog lasts at the present rate; null when it does not get less."`
	Error        string            `json:"error" doc:"Why it takes nothing; empty when all is well."`
	Dropped      map[string]uint64 `json:"dropped" doc:"Pairs dropped for it, by reason."`
}

// Telemetry is what a forwarder measured of itself.
type Telemetry struct {
	At               time.Time `json:"at" doc:"When it came here."`
	IntervalNS       int64     `json:"interval_ns"`
	PairsPerSecond   float64   `json:"pairs_per_second"`
	BytesPerSecond   float64   `json:"bytes_per_second"`
	MemoryResident   uint64    `json:"memory_resident"`
	MemoryHeap       uint64    `json:"memory_heap"`
	Goroutines       uint32    `json:"goroutines"`
	OpenFiles        uint32    `json:"open_files"`
	CPUTimeNS        uint64    `json:"cpu_time_ns"`
	ProxiesConnected uint32    `json:"proxies_connected"`
}

// Forwarders lists the forwarders that are known.
type Forwarders struct {
	Forwarders []Forwarder `json:"forwarders"`
}

// Spool is a forwarder's spool.
type Spool struct {
	BytesUsed      uint64 `json:"bytes_used"`
	BytesLimit     uint64 `json:"bytes_limit"`
	OldestOffset   uint64 `json:"oldest_offset"`
	NextOffset     uint64 `json:"next_offset"`
	ExportedOffset uint64 `json:"exported_offset" doc:"Where the analyzer's cursor stands."`
}

// Proxy is one proxy process as its forwarder last described it.
type Proxy struct {
	ProxyID       string            `json:"proxy_id"`
	Epoch         string            `json:"epoch" doc:"The process, as 32 hexadecimal digits."`
	Cluster       string            `json:"cluster"`
	Namespace     string            `json:"namespace"`
	App           string            `json:"app"`
	Pod           string            `json:"pod"`
	State         string            `json:"state" enum:"connected,away,reaped,stopped,unknown" doc:"away: its stream ended and its lease still runs; reaped: the lease ran out; stopped: it said goodbye; unknown: its forwarder is not connected."`
	Version       string            `json:"version"`
	ListenAddr    string            `json:"listen_addr"`
	UpstreamAddr  string            `json:"upstream_addr"`
	Registered    *time.Time        `json:"registered"`
	LastSeen      *time.Time        `json:"last_seen" doc:"By the forwarder's clock."`
	EpochStarted  *time.Time        `json:"epoch_started" doc:"By the proxy's clock."`
	ClockSkewNS   int64             `json:"clock_skew_ns" doc:"The proxy's clock minus the forwarder's."`
	Skewed        bool              `json:"skewed" doc:"The clock is off by more than 2 s."`
	DuplicateID   bool              `json:"duplicate_id" doc:"Another live proxy has the same id."`
	Counters      Counters          `json:"counters"`
	OpenConns     uint64            `json:"open_conns"`
	MemoryUsed    uint64            `json:"memory_used" doc:"Bytes that capture holds."`
	MemoryLimit   uint64            `json:"memory_limit"`
	CaptureOn     bool              `json:"capture_on"`
	Protocols     map[string]uint64 `json:"protocols" doc:"Connections by detected protocol since the process started."`
	UpstreamError string            `json:"upstream_error" doc:"Last failed dial; empty when the newest one worked."`
	ForwarderID   string            `json:"forwarder_id"`
	Ended         *time.Time        `json:"ended" doc:"When it was reaped or stopped; null before."`
	KeepOneIn     uint32            `json:"keep_one_in" doc:"One connection in so many is kept; 1: all."`
	RingUsed      uint64            `json:"ring_used" doc:"Bytes in its encrypted ring on disk."`
	RingLimit     uint64            `json:"ring_limit" doc:"What the ring may take; 0 without one."`
}

// Counters are cumulative since the proxy process started.
type Counters struct {
	Seen                uint64            `json:"seen" doc:"Pairs begun."`
	Batched             uint64            `json:"batched"`
	Sampled             uint64            `json:"sampled" doc:"Pairs left out by sampling."`
	Dropped             map[string]uint64 `json:"dropped" doc:"Pairs lost, by reason."`
	Acked               uint64            `json:"acked" doc:"Pairs that a forwarder has made durable."`
	BodiesShed          uint64            `json:"bodies_shed"`
	BytesClientToServer uint64            `json:"bytes_client_to_server"`
	BytesServerToClient uint64            `json:"bytes_server_to_client"`
	ConnsAccepted       uint64            `json:"conns_accepted"`
	ConnsFailed         uint64            `json:"conns_failed" doc:"Connections whose upstream could not be dialled."`
}

// Info says what answers here.
type Info struct {
	Version    string     `json:"version"`
	BuildTime  string     `json:"build_time"`
	ListenAddr string     `json:"listen_addr"`
	IngestAddr string     `json:"ingest_addr"`
	Auth       string     `json:"auth" enum:"on,off" doc:"off: everybody on this machine reads everything."`
	Redaction  string     `json:"redaction" enum:"off,partly,on" doc:"on: every forwarder that is known redacts; off: none does, and what is captured is stored as it was."`
	Started    time.Time  `json:"started"`
	Now        time.Time  `json:"now" doc:"The analyzer's clock."`
	Oldest     *time.Time `json:"oldest" doc:"Time of the oldest pair; null when there is none."`
	Pairs      uint64     `json:"pairs" doc:"Pairs stored."`
}

// Fields lists what a query can ask for.
type Fields struct {
	Fields []Field `json:"fields"`
}

// Field is one field of the query language.
type Field struct {
	Name        string   `json:"name" doc:"As it is written in a query; what stands in <> is yours to fill in." example:"header.<name>"`
	Type        string   `json:"type" enum:"text,enum,words,any,number,status,duration,size" doc:"Which values it takes."`
	Description string   `json:"description"`
	Values      []string `json:"values" doc:"All values, where there is a fixed set."`
	Example     string   `json:"example" doc:"A whole term." example:"status:5xx"`
}

// QueryCheck says what the analyzer makes of a query. One of the two is null.
type QueryCheck struct {
	Canonical *string       `json:"canonical" doc:"The query as it was understood, in its canonical form; null where there is a mistake. Empty selects everything." example:"status:5xx"`
	Mistake   *ProblemError `json:"mistake" doc:"What is wrong, as the other calls say it in a problem's errors; null for a query that they take."`
}

// Health answers the liveness and readiness probes.
type Health struct {
	Status  string   `json:"status" enum:"ok,not_ready"`
	Reasons []string `json:"reasons" doc:"Why it is not ready."`
}

// Problem is an error document (RFC 9457).
type Problem struct {
	Type   string         `json:"type" example:"about:blank" doc:"about:blank: title and status say it all. Otherwise urn:weir:problem:<kind>."`
	Title  string         `json:"title"`
	Status int            `json:"status"`
	Detail string         `json:"detail" doc:"What is wrong here, and what would be right."`
	Errors []ProblemError `json:"errors,omitempty" doc:"Mistakes in a query, each with its place."`
	Role   string         `json:"role,omitempty" doc:"The least role that may do this, where a role is missing." enum:"viewer,investigator,operator,admin"`
}

// ProblemError is one mistake in a query.
type ProblemError struct {
	Column     int    `json:"column" doc:"Where it begins in q, in characters, from 1."`
	Length     int    `json:"length" doc:"How many characters it spans, at least 1; at the end of q it may stand behind the last."`
	Message    string `json:"message"`
	Expected   string `json:"expected" doc:"What could stand there; may be empty."`
	Suggestion string `json:"suggestion" doc:"What may have been meant; empty when nothing comes close."`
}

// Kinds of problems that a program may want to tell apart; Problem.Type.
const (
	ProblemBlank        = "about:blank"
	ProblemQuery        = "urn:weir:problem:query"
	ProblemParameter    = "urn:weir:problem:parameter"
	ProblemNotFound     = "urn:weir:problem:not-found"
	ProblemNotSupported = "urn:weir:problem:not-supported"
	ProblemBusy         = "urn:weir:problem:busy"
	ProblemTimeout      = "urn:weir:problem:timeout"
	ProblemHost         = "urn:weir:problem:host"
	// ProblemSignIn: nobody is signed in, or a token is not good (any more).
	ProblemSignIn = "urn:weir:problem:sign-in"
	// ProblemForbidden: whoever asks may not do this; Problem.Role says who may.
	ProblemForbidden = "urn:weir:problem:forbidden"
	// ProblemTooMany: too many requests; Retry-After says when to come back.
	ProblemTooMany = "urn:weir:problem:too-many"
	// ProblemExists: there is one of that name.
	ProblemExists = "urn:weir:problem:exists"
)

// Error is Detail, or Title where there is none.
func (p *Problem) Error() string {
	if p.Detail != "" {
		return p.Detail
	}
	return p.Title
}

// GetStatus is the HTTP status to answer with.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is the media type of a problem document.
func (p *Problem) ContentType(string) string { return "application/problem+json" }
