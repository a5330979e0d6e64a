package storetest

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"github.com/weir-capture/weir/analyzer/store"
	"google.golang.org/protobuf/proto"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/frame"
)

// Forwarder makes the frames of one spool.
type Forwarder struct {
	Spool store.ID
	// Offset is where the next frame will stand.
	Offset uint64
	proxy  *Proxy
}

// NewForwarder has a spool of its own with batches of the proxy.
func NewForwarder(n byte, p *Proxy) *Forwarder {
	return &Forwarder{Spool: store.ID{0: n, 15: 0xf0}, proxy: p}
}

// Proxy counts batches and pairs.
type Proxy struct {
	epoch   [16]byte
	batches uint64
	pairs   uint64
}

// NewProxy has an epoch of its own.
func NewProxy(n byte) *Proxy { return &Proxy{epoch: [16]byte{0: n, 15: 0xe0}} }

// Frame is the next frame of the spool, with the next batch of the proxy.
func (f *Forwarder) Frame(pairs ...*capturev1.RRPair) *capturev1.Frame {
	f.proxy.batches++
	head := &capturev1.FrameHead{
		Source:       &capturev1.Source{App: "app", Epoch: f.proxy.epoch[:]},
		BatchSeq:     f.proxy.batches,
		FirstPairSeq: f.proxy.pairs + 1,
		Received:     uint32(len(pairs)),
	}
	f.proxy.pairs += uint64(len(pairs))
	return f.Wrap(head, pairs...)
}

// Wrap is the next frame of the spool, with a head of the caller's.
func (f *Forwarder) Wrap(head *capturev1.FrameHead, pairs ...*capturev1.RRPair) *capturev1.Frame {
	h, body, err := frame.Make(head, pairs)
	if err != nil {
		panic(fmt.Sprintf("make frame: %v", err))
	}
	return f.Put(h, body)
}

// Put is the next frame of the spool with just these bytes.
func (f *Forwarder) Put(head, body []byte) *capturev1.Frame {
	fr := &capturev1.Frame{Offset: f.Offset, NextOffset: f.Offset + uint64(len(head)+len(body)) + 32, Head: head, Body: body}
	f.Offset = fr.GetNextOffset()
	return fr
}

// Again is the same batch in this spool, which another one had before.
func (f *Forwarder) Again(fr *capturev1.Frame) *capturev1.Frame {
	return f.Put(fr.GetHead(), fr.GetBody())
}

// ID is a UUIDv7 of a time in Unix nanoseconds.
func ID(t int64, n uint64) store.ID {
	var id store.ID
	binary.BigEndian.PutUint64(id[:], uint64(t/1e6)<<16|7<<12|uint64(t%1e6)>>8&0xfff)
	binary.BigEndian.PutUint64(id[8:], 1<<63|n&(1<<62-1))
	return id
}

// Number is the n of an ID.
func Number(id store.ID) uint64 { return binary.BigEndian.Uint64(id[8:]) & (1<<62 - 1) }

// Base is the time of the first pair.
const Base = int64(1_700_000_000_000_000_000)

// Pair is pair n of a deterministic crowd: every kind of value that queries
// ask for occurs, and some are missing. Times grow by about a second a pair,
// not quite in order.
func Pair(n uint64) *capturev1.RRPair {
	r := rand.New(rand.NewPCG(n, 42))
	t := Base + int64(n)*1e9 + r.Int64N(3e9)
	id := ID(t, n)
	status := pick(r, int32(200), 200, 200, 204, 301, 404, 500, 503, 0)
	path := pick(r, "/", "/health", fmt.Sprintf("/users/%d", n), fmt.Sprintf("/api/orders/%d/items", r.IntN(9)), "/API/Search", "/a%20b_c", "/ünï/çødé")
	p := &capturev1.RRPair{
		Id: id[:],
		Source: &capturev1.Source{
			Cluster: pick(r, "", "production"), Namespace: pick(r, "", "shop"),
			App: pick(r, "checkout", "catalog", "payments"), Pod: fmt.Sprintf("pod-%d", r.IntN(3)),
			ProxyId: "proxy", Epoch: make([]byte, frame.EpochLen),
		},
		ProxySeq:  n + 1,
		Direction: capturev1.Direction(r.IntN(3)),
		Protocol:  pick(r, "http", "http", "http", "redis", "opaque"),
		Client:    fmt.Sprintf("10.0.0.%d:%d", r.IntN(4), 40000+r.IntN(9)), Server: pick(r, "10.1.0.1:8080", "[::1]:80"),
		Conn: r.Uint64N(50), Seq: r.Uint64N(4),
		Method: pick(r, "GET", "POST", "get", "DELETE", ""), Host: pick(r, "shop.example.com", "Shop.example.com:8080", "", "10.1.0.1"),
		Path: path, Query: pick(r, "", "", "debug=1", "q=Card%20Declined&page=2", "q=card declined"),
		Status: status,
		Timing: &capturev1.Timing{Accepted: t - 1e6, Connected: t - 5e5, RequestFirst: t, RequestLast: t + 1e5},
		Request: &capturev1.Message{
			Head: fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: shop.example.com\r\nX-Tenant: %s\r\nX-Number: %d\r\n\r\n", path, pick(r, "acme", "Globex"), n),
		},
		Tags: map[string]string{},
	}
	if r.IntN(3) == 0 {
		body := fmt.Appendf(nil, `{"card":"%s","price":%d,"items":[{"sku":"sku-%d"}]}`, pick(r, "declined", "accepted"), r.IntN(200), n)
		p.Request.Body, p.Request.BodySize = body, uint64(len(body))
	}
	if status == 0 {
		p.Error = pick(r, "dial: connection refused", "reset by server")
		p.Flags = append(p.Flags, capturev1.Flag_FLAG_NO_RESPONSE)
	} else {
		p.Timing.ResponseFirst = t + r.Int64N(5e8)
		p.Timing.ResponseLast = p.Timing.ResponseFirst + r.Int64N(5e8)
		body := fmt.Appendf(nil, "answer %d: the card was %s", n, pick(r, "accepted", "declined"))
		p.Response = &capturev1.Message{
			Head: fmt.Appendf(nil, "HTTP/1.1 %d Text\r\nContent-Type: %s\r\n\r\n", status, pick(r, "text/plain", "application/json")),
			Body: body, BodySize: uint64(len(body)),
		}
	}
	if r.IntN(5) == 0 {
		p.Flags = append(p.Flags, capturev1.Flag_FLAG_TRUNCATED)
	}
	if r.IntN(4) == 0 {
		p.Tags["tls.sni"] = pick(r, "a.example.com", "B.example.com", "")
	}
	if n%7 == 5 {
		p.SampleWeight = pick(r, uint32(1), 10, 100)
	}
	if n%97 == 96 { // capture joined late: no first byte
		p.Timing.RequestFirst = 0
		p.Timing.RequestLast = t
		p.Flags = append(p.Flags, capturev1.Flag_FLAG_MIDSTREAM)
	}
	return p
}

// Pairs are the pairs from to to-1.
func Pairs(from, to uint64) []*capturev1.RRPair {
	var pairs []*capturev1.RRPair
	for n := from; n < to; n++ {
		pairs = append(pairs, Pair(n))
	}
	return pairs
}

func pick[T any](r *rand.Rand, values ...T) T { return values[r.IntN(len(values))] }

// Renumber is a frame's head with another batch sequence.
func Renumber(head []byte, seq uint64) []byte {
	h, err := frame.Head(head)
	if err != nil {
		panic(fmt.Sprintf("decode head: %v", err))
	}
	h.BatchSeq = seq
	h.Source.Epoch = binary.BigEndian.AppendUint64(make([]byte, 8), seq)
	b, err := proto.Marshal(h)
	if err != nil {
		panic(fmt.Sprintf("encode head: %v", err))
	}
	return b
}
