// Package index says what the store asks of an index: rows of what lists
// show, with pointers into the log, found by query and time. An index is
// disposable: whatever is in it can be made again from the log.
package index

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/endpoint"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/query"
)

// Absent stands for a duration that the pair does not have.
const Absent = -1

// Row is one pair without its content. Texts are empty where there is none.
type Row struct {
	ID store.ID
	// Off is the record's offset in the log, Idx the pair's place in the
	// record's frame.
	Off uint64
	Idx uint32
	// At is when it became durable, Time where it stands in lists. Unix
	// nanoseconds.
	At, Time int64
	// Duration and TTFB are in nanoseconds, or Absent.
	Duration, TTFB int64

	Cluster, Namespace, App, Pod        string
	Direction                           string // "inbound", "outbound"
	Protocol                            string
	Method, Host, Path, Query, Endpoint string
	Status                              int32
	Error                               string
	RequestSize, ResponseSize           int64
	Client, Server                      string
	// ClientHost and ServerHost are these without their ports.
	ClientHost, ServerHost string
	Conn, Seq              int64
	// Weight is how many pairs this one stands for, 1 at least.
	Weight uint32
	// Flags has the bit FlagBit(f) for each flag.
	Flags uint32
	// Tags is a JSON object of texts, with its keys in order, or empty.
	Tags string
}

// FlagBit is the bit of one flag in Row.Flags; 0 for one that has no number.
func FlagBit(f capturev1.Flag) uint32 {
	if f <= 0 || f > 31 {
		return 0
	}
	return 1 << f
}

// RowOf reads a row off a pair. off and idx say where it stands; at is when it
// became durable.
func RowOf(p *capturev1.RRPair, at int64, off uint64, idx uint32) Row {
	src := p.GetSource()
	r := Row{
		Off: off, Idx: idx,
		At: at, Time: store.Time(p),
		Duration: Absent, TTFB: Absent,
		Cluster: src.GetCluster(), Namespace: src.GetNamespace(), App: src.GetApp(), Pod: src.GetPod(),
		Direction: query.DirectionName(p.GetDirection()),
		Protocol:  p.GetProtocol(),
		Method:    p.GetMethod(), Host: p.GetHost(), Path: p.GetPath(), Query: p.GetQuery(),
		Endpoint:    endpoint.Of(p.GetPath()),
		Status:      p.GetStatus(),
		Error:       p.GetError(),
		RequestSize: clamp(p.GetRequest().GetBodySize()), ResponseSize: clamp(p.GetResponse().GetBodySize()),
		Client: p.GetClient(), Server: p.GetServer(),
		Conn: clamp(p.GetConn()), Seq: clamp(p.GetSeq()),
		Weight: store.Weight(p),
	}
	copy(r.ID[:], p.GetId())
	r.ClientHost, r.ServerHost = HostOf(r.Client), HostOf(r.Server)
	if d, ok := query.Duration(p); ok {
		r.Duration = d
	}
	if d, ok := query.TTFB(p); ok {
		r.TTFB = d
	}
	for _, f := range p.GetFlags() {
		r.Flags |= FlagBit(f)
	}
	if tags := p.GetTags(); len(tags) > 0 {
		// A map of strings always encodes, keys in order.
		b, _ := json.Marshal(tags)
		r.Tags = string(b)
	}
	return r
}

// Stored is the row as a pair of a list (see store.List.Whole).
func (r *Row) Stored() (*store.Stored, error) {
	p := &capturev1.RRPair{
		Id:        r.ID[:],
		Source:    &capturev1.Source{Cluster: r.Cluster, Namespace: r.Namespace, App: r.App, Pod: r.Pod},
		Direction: direction(r.Direction),
		Protocol:  r.Protocol,
		Client:    r.Client, Server: r.Server,
		Conn: uint64(r.Conn), Seq: uint64(r.Seq),
		Method: r.Method, Host: r.Host, Path: r.Path, Query: r.Query,
		Status:   r.Status,
		Error:    r.Error,
		Timing:   &capturev1.Timing{RequestFirst: r.Time},
		Request:  &capturev1.Message{BodySize: uint64(r.RequestSize)},
		Response: &capturev1.Message{BodySize: uint64(r.ResponseSize)},
	}
	if r.Weight > 1 {
		p.SampleWeight = r.Weight
	}
	if r.Duration != Absent {
		p.Timing.ResponseLast = r.Time + r.Duration
	}
	if r.TTFB != Absent {
		p.Timing.ResponseFirst = r.Time + r.TTFB
	}
	for f := capturev1.Flag(1); f < 32; f++ {
		if r.Flags&FlagBit(f) != 0 {
			p.Flags = append(p.Flags, f)
		}
	}
	if r.Tags != "" {
		if err := json.Unmarshal([]byte(r.Tags), &p.Tags); err != nil {
			return nil, fmt.Errorf("decode tags: %w", err)
		}
	}
	return &store.Stored{Pair: p, Endpoint: r.Endpoint, At: r.At, Seq: Seq(r.Off, r.Idx)}, nil
}

// Seq is the store's own sequence of the pair at idx of the record at off. A
// record is longer in bytes than it has pairs, so that no two are the same and
// they grow with the log.
func Seq(off uint64, idx uint32) uint64 { return off + uint64(idx) + 1 }

// Pointer is the row with no more than ID, Off, Idx, At and Time.
func (r *Row) Pointer() Row { return Row{ID: r.ID, Off: r.Off, Idx: r.Idx, At: r.At, Time: r.Time} }

// Key is the row's place in a list.
func (r *Row) Key() store.Key { return store.Key{Time: r.Time, ID: r.ID} }

// Size is about how many bytes of memory the row takes.
func (r *Row) Size() int64 {
	return 400 + int64(len(r.Path)+len(r.Query)+len(r.Endpoint)+len(r.Host)+len(r.Error)+len(r.Tags))
}

func direction(name string) capturev1.Direction {
	for d := range capturev1.Direction_name {
		if query.DirectionName(capturev1.Direction(d)) == name {
			return capturev1.Direction(d)
		}
	}
	return capturev1.Direction_DIRECTION_UNSPECIFIED
}

// clamp keeps what no real pair has from turning negative.
func clamp(n uint64) int64 { return int64(min(n, math.MaxInt64)) }
