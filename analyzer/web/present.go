package web

import (
	"encoding/base64"
	"encoding/hex"
	"iter"
	"maps"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/weir-capture/weir/analyzer/store"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/internal/bodycodec"
	"github.com/weir-capture/weir/internal/httphead"
	"github.com/weir-capture/weir/query"
)

// skewShown is how far a clock may be off before people are told.
const skewShown = 2 * time.Second

func nano(t int64) time.Time { return time.Unix(0, t).UTC() }

// nanoOrNil is null for what did not happen.
func nanoOrNil(t int64) *time.Time {
	if t == 0 {
		return nil
	}
	at := nano(t)
	return &at
}

// text makes wire bytes fit for JSON: what is not UTF-8 is replaced.
func text(b string) string { return strings.ToValidUTF8(b, "\uFFFD") }

// word is the last part of an enum's name in lower case: FLAG_GAP is "gap".
func word(name, prefix string) string { return strings.ToLower(strings.TrimPrefix(name, prefix)) }

func direction(d capturev1.Direction) string {
	if d == capturev1.Direction_DIRECTION_UNSPECIFIED {
		return ""
	}
	return word(d.String(), "DIRECTION_")
}

func flags(fs []capturev1.Flag) []string {
	names := make([]string, 0, len(fs))
	for _, f := range fs {
		names = append(names, word(f.String(), "FLAG_"))
	}
	return names
}

// row is a pair without its messages.
func row(s *store.Stored) httpv1.Row {
	p := s.Pair
	src := p.GetSource()
	r := httpv1.Row{
		ID:           query.FormatID(p.GetId()),
		Time:         nano(store.Time(p)),
		StoredAt:     nano(s.At),
		Cluster:      text(src.GetCluster()),
		Namespace:    text(src.GetNamespace()),
		App:          text(src.GetApp()),
		Pod:          text(src.GetPod()),
		Direction:    direction(p.GetDirection()),
		Protocol:     p.GetProtocol(),
		Method:       text(p.GetMethod()),
		Host:         text(p.GetHost()),
		Path:         text(p.GetPath()),
		Query:        text(p.GetQuery()),
		Endpoint:     text(s.Endpoint),
		Status:       p.GetStatus(),
		RequestSize:  p.GetRequest().GetBodySize(),
		ResponseSize: p.GetResponse().GetBodySize(),
		Client:       p.GetClient(),
		Server:       p.GetServer(),
		Conn:         p.GetConn(),
		Seq:          p.GetSeq(),
		Flags:        flags(p.GetFlags()),
		Error:        text(p.GetError()),
		SampleWeight: max(p.GetSampleWeight(), 1),
	}
	if d, ok := query.Duration(p); ok {
		r.DurationNS = &d
	}
	if d, ok := query.TTFB(p); ok {
		r.TTFBNS = &d
	}
	return r
}

// whole is a pair with its messages.
func whole(s *store.Stored) httpv1.Pair {
	p := s.Pair
	t := p.GetTiming()
	out := httpv1.Pair{
		Row:      row(s),
		Request:  message(p.GetRequest()),
		Response: message(p.GetResponse()),
		Timing: httpv1.Timing{
			Accepted:      nanoOrNil(t.GetAccepted()),
			Connected:     nanoOrNil(t.GetConnected()),
			RequestFirst:  nanoOrNil(t.GetRequestFirst()),
			RequestLast:   nanoOrNil(t.GetRequestLast()),
			ResponseFirst: nanoOrNil(t.GetResponseFirst()),
			ResponseLast:  nanoOrNil(t.GetResponseLast()),
		},
		Redactions: make([]httpv1.Redaction, 0, len(p.GetRedactions())),
		Tags:       map[string]string{},
	}
	for _, r := range p.GetRedactions() {
		out.Redactions = append(out.Redactions, httpv1.Redaction{
			Rule: r.GetRule(), Location: r.GetLocation(), Type: r.GetType(), Count: r.GetCount(),
		})
	}
	for k, v := range p.GetTags() {
		out.Tags[text(k)] = text(v)
	}
	return out
}

// message is nil for a message that was never seen.
func message(m *capturev1.Message) *httpv1.Message {
	if m == nil {
		return nil
	}
	start, _ := httphead.StartLine(m.GetHead())
	out := &httpv1.Message{
		StartLine: text(string(start)),
		Headers:   fields(httphead.Fields(m.GetHead())),
		Trailers:  fields(httphead.Section(m.GetTrailers())),
		BodySize:  m.GetBodySize(),
		BodyHash:  hex.EncodeToString(m.GetBodyHash()),
		Truncated: m.GetTruncated(),
		WireSize:  m.GetWireSize(),
	}
	out.Body, out.BodyEncoding = bodyText(m.GetBody())
	out.ContentEncoding = text(strings.Join(codings(m), ", "))
	return out
}

func fields(fs iter.Seq[httphead.Field]) []httpv1.Header {
	out := []httpv1.Header{}
	for f := range fs {
		out = append(out, httpv1.Header{text(string(f.Name)), text(string(f.Value))})
	}
	return out
}

// codings are those that the kept body still has, in the order in which they
// were applied.
func codings(m *capturev1.Message) []string {
	if m.GetBodyDecoded() {
		return nil
	}
	return bodycodec.Codings(httphead.Values(m.GetHead(), "Content-Encoding")...)
}

func bodyText(b []byte) (string, string) {
	if utf8.Valid(b) {
		return string(b), "text"
	}
	return base64.StdEncoding.EncodeToString(b), "base64"
}

// proxies is what the forwarders know. A proxy that two forwarders list is
// shown as the one says that heard of it last.
func proxies(known []Forwarder) httpv1.Proxies {
	out := httpv1.Proxies{Forwarders: []httpv1.Forwarder{}, Proxies: []httpv1.Proxy{}}
	type process struct{ id, epoch string }
	at := map[process]int{}
	seen := map[process]int64{}
	for _, f := range known {
		out.Forwarders = append(out.Forwarders, forwarder(f))
		for _, p := range f.Status.GetProxies() {
			key := process{p.GetSource().GetProxyId(), string(p.GetSource().GetEpoch())}
			i, known := at[key]
			if known && seen[key] >= p.GetLastSeen() {
				continue
			}
			if !known {
				i = len(out.Proxies)
				at[key] = i
				out.Proxies = append(out.Proxies, httpv1.Proxy{})
			}
			seen[key] = p.GetLastSeen()
			out.Proxies[i] = proxy(p, f)
		}
	}
	return out
}

func forwarder(f Forwarder) httpv1.Forwarder {
	st := f.Status
	out := httpv1.Forwarder{
		ForwarderID: text(st.GetForwarderId()),
		Cluster:     text(st.GetCluster()),
		Version:     text(st.GetVersion()),
		LastSeen:    f.LastSeen.UTC(),
		Started:     nanoOrNil(st.GetStarted()),
		Connected:   f.Connected,
		Spool: httpv1.Spool{
			BytesUsed:      st.GetSpool().GetBytesUsed(),
			BytesLimit:     st.GetSpool().GetBytesLimit(),
			OldestOffset:   st.GetSpool().GetOldestOffset(),
			NextOffset:     st.GetSpool().GetNextOffset(),
			ExportedOffset: st.GetSpool().GetExportedOffset(),
		},
		DLPConfig:      text(st.GetDlpConfig()),
		FilterRule:     text(st.GetFilterRule()),
		Filtered:       counts(st.GetFiltered()),
		Dropped:        counts(st.GetDropped()),
		ProxiesOmitted: st.GetProxiesOmitted(), Unauthenticated: st.GetProxiesUnauthenticated(),
		FilterRules:  make([]httpv1.FilterRule, 0, len(st.GetFilterRules())),
		Sampling:     make(map[string]uint32, len(st.GetKeepOneIn())),
		Destinations: make([]httpv1.Destination, 0, len(st.GetDestinations())),
	}
	if st.GetNow() != 0 {
		out.ClockSkewNS = st.GetNow() - f.LastSeen.UnixNano()
		out.Skewed = time.Duration(out.ClockSkewNS).Abs() > skewShown
	}
	for _, r := range st.GetFilterRules() {
		out.FilterRules = append(out.FilterRules, httpv1.FilterRule{Name: text(r.GetName()), Expression: text(r.GetExpression())})
	}
	for app, n := range st.GetKeepOneIn() {
		out.Sampling[text(app)] = n
	}
	for _, d := range st.GetDestinations() {
		to := httpv1.Destination{
			Name: text(d.GetName()), Connected: d.GetConnected(), BacklogBytes: d.GetBacklogBytes(),
			Error: text(d.GetError()), Dropped: counts(d.GetDropped()),
		}
		if eta := d.GetBacklogEta(); eta > 0 || d.GetBacklogBytes() == 0 {
			to.BacklogETANS = &eta
		}
		out.Destinations = append(out.Destinations, to)
	}
	if t := f.Telemetry; t != nil {
		out.Telemetry = &httpv1.Telemetry{
			At: f.TelemetryAt.UTC(), IntervalNS: t.GetInterval(),
			PairsPerSecond: finite(t.GetPairsPerSecond()), BytesPerSecond: finite(t.GetBytesPerSecond()),
			MemoryResident: t.GetMemoryResident(), MemoryHeap: t.GetMemoryHeap(), Goroutines: t.GetGoroutines(),
			OpenFiles: t.GetOpenFiles(), CPUTimeNS: t.GetCpuTime(), ProxiesConnected: t.GetProxiesConnected(),
		}
	}
	return out
}

// finite is a number that JSON has a word for.
func finite(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}

func proxy(p *capturev1.ProxyStatus, f Forwarder) httpv1.Proxy {
	src, c, now := p.GetSource(), p.GetCounters(), p.GetProxyState()
	state := "unknown"
	// What a forwarder said that is gone now need not hold any more, but for
	// an end.
	if ended := p.GetState() == capturev1.ProxyStatus_STATE_REAPED || p.GetState() == capturev1.ProxyStatus_STATE_STOPPED; ended ||
		f.Connected && p.GetState() != capturev1.ProxyStatus_STATE_UNSPECIFIED {
		state = word(p.GetState().String(), "STATE_")
	}
	cluster := src.GetCluster()
	if cluster == "" {
		cluster = f.Status.GetCluster()
	}
	return httpv1.Proxy{
		ProxyID:      text(src.GetProxyId()),
		Epoch:        hex.EncodeToString(src.GetEpoch()),
		Cluster:      text(cluster),
		Namespace:    text(src.GetNamespace()),
		App:          text(src.GetApp()),
		Pod:          text(src.GetPod()),
		State:        state,
		Version:      text(p.GetVersion()),
		ListenAddr:   text(p.GetListenAddr()),
		UpstreamAddr: text(p.GetUpstreamAddr()),
		Registered:   nanoOrNil(p.GetRegistered()),
		LastSeen:     nanoOrNil(p.GetLastSeen()),
		EpochStarted: nanoOrNil(p.GetEpochStarted()),
		ClockSkewNS:  p.GetClockSkew(),
		Skewed:       time.Duration(p.GetClockSkew()).Abs() > skewShown,
		DuplicateID:  p.GetDuplicateId(),
		Counters: httpv1.Counters{
			Seen:                c.GetSeen(),
			Batched:             c.GetBatched(),
			Sampled:             c.GetSampled(),
			Dropped:             counts(c.GetDropped()),
			Acked:               c.GetAcked(),
			BodiesShed:          c.GetBodiesShed(),
			BytesClientToServer: c.GetBytesClientToServer(),
			BytesServerToClient: c.GetBytesServerToClient(),
			ConnsAccepted:       c.GetConnsAccepted(),
			ConnsFailed:         c.GetConnsFailed(),
		},
		OpenConns:     now.GetOpenConns(),
		MemoryUsed:    now.GetMemoryUsed(),
		MemoryLimit:   now.GetMemoryLimit(),
		CaptureOn:     now.GetCaptureOn(),
		Protocols:     counts(now.GetProtocols()),
		UpstreamError: text(now.GetUpstreamError()),
		ForwarderID:   text(f.Status.GetForwarderId()),
		Ended:         nanoOrNil(p.GetEnded()),
		KeepOneIn:     max(now.GetKeepOneIn(), 1),
		RingUsed:      now.GetRingUsed(),
		RingLimit:     now.GetRingLimit(),
	}
}

// counts is never nil, so that JSON has {} and not null.
func counts(m map[string]uint64) map[string]uint64 {
	if m == nil {
		return map[string]uint64{}
	}
	return maps.Clone(m)
}

// histogram adds up what the store counted.
func histogram(b *store.Buckets) httpv1.Histogram {
	out := httpv1.Histogram{
		From: nano(b.From), To: nano(b.To), StepNS: b.Step,
		Buckets: make([]httpv1.Bucket, 0, len(b.Counts)),
		Partial: b.Partial, Sampled: b.Sampled,
	}
	for i, c := range b.Counts {
		bucket := httpv1.Bucket{Time: nano(b.From + int64(i)*b.Step), Counts: classes(c), Estimated: classes(c)}
		out.Total += sum(c)
		if i < len(b.Estimated) && b.Sampled {
			c = b.Estimated[i]
			bucket.Estimated = classes(c)
		}
		out.EstimatedTotal += sum(c)
		out.Buckets = append(out.Buckets, bucket)
	}
	return out
}

func classes(c [6]uint64) httpv1.ClassCounts {
	return httpv1.ClassCounts{None: c[0], C1xx: c[1], C2xx: c[2], C3xx: c[3], C4xx: c[4], C5xx: c[5]}
}

func sum(c [6]uint64) uint64 { return c[0] + c[1] + c[2] + c[3] + c[4] + c[5] }

// fieldList is the query language's table.
func fieldList() httpv1.Fields {
	out := httpv1.Fields{Fields: []httpv1.Field{}}
	for _, f := range query.Fields() {
		values := append([]string{}, f.Values...)
		out.Fields = append(out.Fields, httpv1.Field{
			Name: f.Label(), Type: string(f.Type), Description: f.Description, Values: values, Example: f.Example,
		})
	}
	return out
}
