package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/bench/store/corpus"
	"github.com/weir-capture/weir/goproxy/ship/wire"
	"github.com/weir-capture/weir/internal/grpcpeer"
)

// What a proxy goes by when it cuts batches (goproxy/ship).
const (
	batchPairs = 64
	batchBytes = 256 << 10
	batchAge   = 50 * time.Millisecond
	alonePair  = 64 << 10
	beatEvery  = time.Second
	maxMessage = 24 << 20
)

const (
	// window is how many batches of one proxy are on their way at most.
	window = 8
	// lead is how many pairs a proxy may be ahead of the slowest.
	lead = 2048
)

// feed is a number of proxies that send pairs to a forwarder, as goproxy does:
// each over a connection of its own, in its encoding, until acknowledged.
type feed struct {
	addr   string
	corpus corpus.Corpus
	run    uint64
	// paced: each pair is sent when its time has come; otherwise as fast as the
	// forwarder takes them.
	paced bool
	// sentOne, when set, is told of the last pair of batches just sent.
	sentOne func(n uint64)

	started time.Time
	bytes   atomic.Int64 // of encoded pairs

	mu     sync.Mutex
	at     [corpus.Proxies]uint64 // pairs that each has made
	moved  *sync.Cond
	delays []time.Duration
	failed bool
}

// fed is what a feed did.
type fed struct {
	Took time.Duration
	// Bytes are those of the encoded pairs.
	Bytes int64
	// Delays are how long each batch waited for its acknowledgement.
	Delays []time.Duration
}

// send sends everything, and returns when all is acknowledged.
func (f *feed) send(ctx context.Context) (*fed, error) {
	f.moved = sync.NewCond(&f.mu)
	f.started = time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, corpus.Proxies)
	var wg sync.WaitGroup
	for i := range corpus.Proxies {
		wg.Go(func() {
			if errs[i] = f.proxy(ctx, i); errs[i] != nil {
				cancel()
				f.mu.Lock()
				f.failed = true
				f.mu.Unlock()
				f.moved.Broadcast()
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("send pairs: %w", err)
	}
	return &fed{Took: time.Since(f.started), Bytes: f.bytes.Load(), Delays: f.delays}, nil
}

// proxy is one of them.
type proxy struct {
	f      *feed
	number int
	source *capturev1.Source
	stream grpc.BidiStreamingClient[capturev1.PushRequest, capturev1.PushResponse]
	maker  *corpus.Maker
	pool   sync.Pool

	open  *[]byte
	count int    // pairs in open
	last  uint64 // the newest of them
	since time.Time

	seq, pairs uint64
	beat       time.Time
	slots      chan struct{}

	mu    sync.Mutex
	sent  []time.Time // of batches not acknowledged
	acked uint64      // batches
}

func (f *feed) proxy(ctx context.Context, number int) error {
	peer, err := grpcpeer.Connect(ctx, grpcpeer.Settings{Addr: f.addr, Name: "forwarder", MaxMessage: maxMessage})
	if err != nil {
		return err
	}
	defer peer.Close()
	p := &proxy{
		f: f, number: number, source: corpus.Source(number, f.run), maker: corpus.NewMaker(f.corpus),
		slots: make(chan struct{}, window),
	}
	p.pool.New = func() any { b := make([]byte, 0, batchBytes+alonePair); return &b }
	client := capturev1.NewProxyServiceClient(peer)
	now := time.Now().UnixNano()
	if _, err := client.Register(ctx, &capturev1.RegisterRequest{
		Source: p.source, EpochStarted: f.started.UnixNano(), Version: "bench", Now: now,
		ApiVersion: capturev1.APIVersion, ApiOldest: capturev1.APIOldest,
	}); err != nil {
		return fmt.Errorf("register: %w", err)
	}
	if p.stream, err = client.Push(ctx, grpc.ForceCodecV2(codec{encoding.GetCodecV2(protocodec.Name)})); err != nil {
		return fmt.Errorf("open stream: %w", err)
	}
	heard := make(chan error, 1)
	go func() { heard <- p.listen() }()
	err = p.talk(ctx)
	if err == nil {
		err = p.stream.CloseSend()
	}
	// Why a stream broke the reader knows.
	if herr := <-heard; herr != nil && !errors.Is(herr, io.EOF) {
		return herr
	}
	return err
}

// talk sends all pairs of this proxy, and waits for their acknowledgement.
func (p *proxy) talk(ctx context.Context) error {
	if err := p.heartbeat(false); err != nil {
		return err
	}
	for n := uint64(p.number); n < p.f.corpus.Pairs; n += corpus.Proxies {
		if err := p.wait(ctx, n); err != nil {
			return err
		}
		pair := p.maker.Pair(n)
		if wire.Bound(pair, [2][][]byte{}) > alonePair {
			if err := errors.Join(p.close(ctx), p.add(n, pair), p.close(ctx)); err != nil {
				return err
			}
			continue
		}
		if err := p.add(n, pair); err != nil {
			return err
		}
		if p.count == batchPairs || len(*p.open) >= batchBytes {
			if err := p.close(ctx); err != nil {
				return err
			}
		}
	}
	if err := p.close(ctx); err != nil {
		return err
	}
	// Every slot is free when everything is acknowledged.
	for range window {
		select {
		case p.slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return p.heartbeat(true)
}

// wait holds the proxies together, or waits for the pair's time.
func (p *proxy) wait(ctx context.Context, n uint64) error {
	if p.f.paced {
		due := time.Unix(0, p.f.corpus.Time(n))
		for {
			left := time.Until(due)
			if p.count > 0 {
				left = min(left, batchAge-time.Since(p.since))
			}
			if left > 0 {
				select {
				case <-time.After(left):
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			if p.count > 0 && time.Since(p.since) >= batchAge {
				if err := p.close(ctx); err != nil {
					return err
				}
			}
			if !time.Now().Before(due) {
				return nil
			}
		}
	}
	if n/corpus.Proxies%32 != 0 {
		return nil
	}
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	p.f.at[p.number] = n
	p.f.moved.Broadcast()
	for n > slices.Min(p.f.at[:])+lead*corpus.Proxies && !p.f.failed {
		p.f.moved.Wait()
	}
	return nil
}

func (p *proxy) add(n uint64, pair *capturev1.RRPair) error {
	if p.open == nil {
		p.open = p.pool.Get().(*[]byte) // its New makes nothing else
		p.since = time.Now()
	}
	*p.open = wire.Append(*p.open, pair, [2][][]byte{})
	p.count++
	p.last = n
	return nil
}

// message is a batch as it goes over the wire.
type message struct{ parts mem.BufferSlice }

type codec struct{ encoding.CodecV2 }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if m, ok := v.(*message); ok {
		return m.parts, nil
	}
	return c.CodecV2.Marshal(v)
}

// recycle is a mem.BufferPool for buffers of batches.
type recycle struct{ pool *sync.Pool }

func (r recycle) Get(int) *[]byte { return r.pool.Get().(*[]byte) } // its New makes nothing else

func (r recycle) Put(b *[]byte) { *b = (*b)[:0]; r.pool.Put(b) }

// close sends the open batch, once fewer than window are on their way.
func (p *proxy) close(ctx context.Context) error {
	if p.count == 0 {
		return nil
	}
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if time.Since(p.beat) > beatEvery {
		if err := p.heartbeat(false); err != nil {
			return err
		}
	}
	b := p.open
	wire.Number(*b, p.pairs+1)
	p.seq++
	first := p.pairs + 1
	p.pairs += uint64(p.count)
	fields, err := proto.Marshal(&capturev1.Batch{
		Source: p.source, EpochStarted: p.f.started.UnixNano(), Seq: p.seq, FirstPairSeq: first, Counters: p.counters(),
	})
	if err != nil {
		return fmt.Errorf("encode batch: %w", err)
	}
	const batchField = 1 // of PushRequest
	head := protowire.AppendTag(make([]byte, 0, len(fields)+16), batchField, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(len(fields)+len(*b)))
	head = append(head, fields...)
	p.f.bytes.Add(int64(len(*b)))
	p.open, p.count = nil, 0
	p.mu.Lock()
	p.sent = append(p.sent, time.Now())
	p.mu.Unlock()
	if p.f.sentOne != nil {
		p.f.sentOne(p.last)
	}
	m := &message{mem.BufferSlice{mem.SliceBuffer(head), mem.NewBuffer(b, recycle{&p.pool})}}
	if err := p.stream.SendMsg(m); err != nil {
		return fmt.Errorf("send batch: %w", err)
	}
	return nil
}

func (p *proxy) counters() *capturev1.Counters {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &capturev1.Counters{Seen: p.pairs, Batched: p.pairs, ConnsAccepted: 1, At: time.Now().UnixNano()}
}

func (p *proxy) heartbeat(goodbye bool) error {
	p.beat = time.Now()
	return p.stream.Send(&capturev1.PushRequest{Kind: &capturev1.PushRequest_Heartbeat{Heartbeat: &capturev1.Heartbeat{
		Source: p.source, Now: p.beat.UnixNano(), Counters: p.counters(), Goodbye: goodbye,
		State: &capturev1.ProxyState{CaptureOn: true},
	}}})
}

// listen takes acknowledgements until the stream ends.
func (p *proxy) listen() error {
	for {
		m, err := p.stream.Recv()
		if err != nil {
			return err
		}
		ack := m.GetAck()
		if ack == nil {
			continue
		}
		now := time.Now()
		p.mu.Lock()
		var delays []time.Duration
		for p.acked < ack.GetThrough() && len(p.sent) > 0 {
			delays = append(delays, now.Sub(p.sent[0]))
			p.sent = p.sent[1:]
			p.acked++
		}
		p.mu.Unlock()
		for range delays {
			<-p.slots
		}
		p.f.mu.Lock()
		p.f.delays = append(p.f.delays, delays...)
		p.f.mu.Unlock()
	}
}
