package web

import (
	"context"
	"encoding/binary"
	"iter"
	"log/slog"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/endpoint"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/query"
)

// base is when the pairs of these tests happened.
var base = time.Date(2026, 11, 23, 12, 0, 0, 123456789, time.UTC)

// fakeStore is a store.Reader over a slice, oldest first.
type fakeStore struct {
	mu     sync.Mutex
	pairs  []*store.Stored
	grown  chan struct{} // closed and replaced when pairs grows
	err    error         // what every call answers instead
	budget int           // pairs that List looks at; 0 for all
}

func newFake(pairs ...*capturev1.RRPair) *fakeStore {
	f := &fakeStore{grown: make(chan struct{})}
	for _, p := range pairs {
		f.add(p)
	}
	return f
}

func (f *fakeStore) add(p *capturev1.RRPair) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.pairs) + 1
	f.pairs = append(f.pairs, &store.Stored{Pair: p, Endpoint: endpoint.Of(p.GetPath()), At: base.Add(time.Hour).UnixNano(), Seq: uint64(n)})
	close(f.grown)
	f.grown = make(chan struct{})
}

func (f *fakeStore) all() ([]*store.Stored, chan struct{}, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pairs[:len(f.pairs):len(f.pairs)], f.grown, f.err
}

func matches(q *query.Query, p *capturev1.RRPair) bool { return q == nil || q.Matcher().Match(p) }

func (f *fakeStore) Pair(_ context.Context, id store.ID) (*store.Stored, error) {
	pairs, _, err := f.all()
	for _, p := range pairs {
		if store.ID(p.Pair.GetId()) == id {
			return p, nil
		}
	}
	if err == nil {
		err = store.ErrNotFound
	}
	return nil, err
}

func (f *fakeStore) List(_ context.Context, l store.List) iter.Seq2[*store.Stored, error] {
	return func(yield func(*store.Stored, error) bool) {
		pairs, _, err := f.all()
		if err != nil {
			yield(nil, err)
			return
		}
		looked, given := 0, 0
		for i := len(pairs) - 1; i >= 0; i-- {
			p := pairs[i]
			at := store.Time(p.Pair)
			if l.From != 0 && at < l.From || l.To != 0 && at >= l.To || l.Before != nil && at >= l.Before.Time {
				continue
			}
			if looked++; f.budget > 0 && looked > f.budget {
				reached := store.Key{Time: store.Time(pairs[i+1].Pair), ID: store.ID(pairs[i+1].Pair.GetId())}
				yield(nil, &store.PartialError{Reason: "budget", Reached: &reached})
				return
			}
			if !matches(l.Query, p.Pair) {
				continue
			}
			if given++; !yield(p, nil) || given == l.Limit {
				return
			}
		}
	}
}

func (f *fakeStore) Histogram(_ context.Context, h store.Histogram) (*store.Buckets, error) {
	pairs, _, err := f.all()
	if err != nil {
		return nil, err
	}
	step := (h.To - h.From + int64(h.Buckets) - 1) / int64(h.Buckets)
	b := &store.Buckets{From: h.From, To: h.To, Step: step, Counts: make([][6]uint64, h.Buckets)}
	for _, p := range pairs {
		if at := store.Time(p.Pair); at >= h.From && at < h.To && matches(h.Query, p.Pair) {
			b.Counts[(at-h.From)/step][p.Pair.GetStatus()/100]++
		}
	}
	return b, nil
}

func (f *fakeStore) Tail(ctx context.Context, t store.Tail) iter.Seq2[store.Event, error] {
	return func(yield func(store.Event, error) bool) {
		pairs, grown, _ := f.all()
		next := len(pairs)
		if t.After > 0 {
			next = int(t.After)
		} else if !yield(store.Event{Seq: uint64(next)}, nil) {
			return
		}
		for {
			for ; next < len(pairs); next++ {
				ev := store.Event{Seq: uint64(next + 1)}
				if p := pairs[next]; matches(t.Query, p.Pair) {
					ev.Stored = p
				}
				if pairs[next].Pair.GetMethod() == "LOST" {
					ev = store.Event{Dropped: 7, Seq: ev.Seq}
				}
				if !yield(ev, nil) {
					return
				}
			}
			select {
			case <-ctx.Done():
				yield(store.Event{}, ctx.Err())
				return
			case <-grown:
			}
			pairs, grown, _ = f.all()
		}
	}
}

func (f *fakeStore) Extent(context.Context) (store.Extent, error) {
	pairs, _, err := f.all()
	if err != nil || len(pairs) == 0 {
		return store.Extent{}, err
	}
	return store.Extent{
		Oldest: store.Time(pairs[0].Pair), Newest: store.Time(pairs[len(pairs)-1].Pair), Pairs: uint64(len(pairs)), Bytes: 1000,
	}, nil
}

func pairIDOf(n int) []byte {
	id := []byte{0x01, 0x99, 0x7b, 0x2c, 0x6d, 0x3f, 0x7c, 0x44, 0x9d, 0x6e, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(id[12:], uint32(n))
	return id
}

// exchange is the n-th pair, one second after the one before.
func exchange(n int, method, path string, status int32, reqBody, respBody string) *capturev1.RRPair {
	at := base.Add(time.Duration(n) * time.Second).UnixNano()
	reqHead := method + " " + path + " HTTP/1.1\r\nHost: shop.example:8080\r\nX-One: 1\r\nx-one: 2\r\n\r\n"
	respHead := "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"
	return &capturev1.RRPair{
		Id:        pairIDOf(n),
		Source:    &capturev1.Source{Cluster: "c1", Namespace: "ns", App: "shop", Pod: "pod-1", ProxyId: "pod-1", Epoch: make([]byte, 16)},
		Direction: capturev1.Direction_DIRECTION_INBOUND, Protocol: "http",
		Client: "10.0.0.1:5000", Server: "127.0.0.1:8080", Conn: 3, Seq: uint64(n),
		Method: method, Host: "shop.example:8080", Path: path, Status: status,
		Timing: &capturev1.Timing{Accepted: at - 5e6, Connected: at - 4e6, RequestFirst: at, RequestLast: at + 1e6, ResponseFirst: at + 5e6, ResponseLast: at + 9e6},
		Request: &capturev1.Message{
			Head: []byte(reqHead), Body: []byte(reqBody), BodySize: uint64(len(reqBody)), WireSize: uint64(len(reqHead) + len(reqBody)),
		},
		Response: &capturev1.Message{
			Head: []byte(respHead), Body: []byte(respBody), BodySize: uint64(len(respBody)), BodyHash: []byte("0123456789abcdef"),
			WireSize: uint64(len(respHead) + len(respBody)),
		},
	}
}

// serve runs a server over a store until the test ends.
func serve(t *testing.T, f store.Reader, change ...func(*Config, *Deps)) (*Server, *httptest.Server) {
	t.Helper()
	cfg := Config{NoAuth: true, Version: "v1", BuildTime: "then", ListenAddr: "127.0.0.1:4190", IngestAddr: "127.0.0.1:4191", Now: func() time.Time { return base.Add(time.Hour) }}
	deps := Deps{Store: f}
	for _, c := range change {
		c(&cfg, &deps)
	}
	s, err := New(cfg, deps, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		s.stop()
		ts.Close()
	})
	return s, ts
}
