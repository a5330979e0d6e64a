package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/bench/store/corpus"
	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/internal/grpcpeer"
)

// probe is a forwarder of its own that sends a small frame now and then and
// waits for its acknowledgement: what the analyzer alone takes for that.
type probe struct {
	addr   string
	corpus corpus.Corpus
}

const (
	probeEvery = 50 * time.Millisecond
	probePairs = 8
)

// run sends until ctx ends, and gives how long each frame waited.
func (p *probe) run(ctx context.Context) ([]time.Duration, error) {
	peer, err := grpcpeer.Connect(context.WithoutCancel(ctx), grpcpeer.Settings{Addr: p.addr, Name: "analyzer", MaxMessage: maxMessage})
	if err != nil {
		return nil, err
	}
	defer peer.Close()
	streamCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stream, err := capturev1.NewIngestServiceClient(peer).Export(streamCtx)
	if err != nil {
		return nil, fmt.Errorf("open stream: %w", err)
	}
	spool := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, uint64(time.Now().UnixNano())), maphash.Bytes(maphash.MakeSeed(), nil))
	if err := stream.Send(&capturev1.ExportRequest{Kind: &capturev1.ExportRequest_Hello{Hello: &capturev1.Hello{
		SpoolId: spool, ForwarderId: "probe", Cluster: "bench", Version: "bench",
		ApiVersion: capturev1.APIVersion, ApiOldest: capturev1.APIOldest,
	}}}); err != nil {
		return nil, fmt.Errorf("say hello: %w", err)
	}
	if _, err := stream.Recv(); err != nil {
		return nil, fmt.Errorf("wait for greeting: %w", err)
	}
	var mu sync.Mutex
	sent := map[uint64]time.Time{} // by where the frame ends
	var delays []time.Duration
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		for {
			resp, err := stream.Recv()
			if err != nil {
				return // the sender's side ends it
			}
			now := time.Now()
			mu.Lock()
			for next, at := range sent {
				if next <= resp.GetStored().GetNextOffset() {
					delays = append(delays, now.Sub(at))
					delete(sent, next)
				}
			}
			mu.Unlock()
		}
	}()
	maker := corpus.NewMaker(p.corpus)
	source := corpus.Source(0, uint64(time.Now().UnixNano()))
	source.App, source.Pod, source.ProxyId = "probe", "probe", "probe"
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	var offset, seq uint64
	for ctx.Err() == nil {
		pairs := make([]*capturev1.RRPair, probePairs)
		for i := range pairs {
			pairs[i] = proto.CloneOf(maker.Pair(seq*probePairs + uint64(i)))
			id := p.corpus.ID(1<<40 + seq*probePairs + uint64(i)) // no proxy has it
			now := time.Now()
			binary.BigEndian.PutUint64(id[:], uint64(now.UnixMilli())<<16|uint64(binary.BigEndian.Uint16(id[6:])))
			pairs[i].Id, pairs[i].Source, pairs[i].ProxySeq = id[:], source, seq*probePairs+uint64(i)+1
			pairs[i].Timing.RequestFirst = now.UnixNano()
			pairs[i].Timing.ResponseLast = pairs[i].Timing.RequestFirst + 1e6
		}
		seq++
		head, body, err := frame.Make(&capturev1.FrameHead{
			Source: source, EpochStarted: 1, BatchSeq: seq, FirstPairSeq: pairs[0].GetProxySeq(), Received: probePairs,
		}, pairs)
		if err != nil {
			return nil, err
		}
		next := offset + uint64(len(head)+len(body)) + 32
		mu.Lock()
		sent[next] = time.Now()
		mu.Unlock()
		if err := stream.Send(&capturev1.ExportRequest{Kind: &capturev1.ExportRequest_Frame{Frame: &capturev1.Frame{
			Offset: offset, NextOffset: next, Head: head, Body: body,
		}}}); err != nil {
			return nil, fmt.Errorf("send frame: %w", err)
		}
		offset = next
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	_ = stream.CloseSend()
	select {
	case <-heard:
	case <-time.After(5 * time.Second):
		cancel()
		<-heard
	}
	return delays, nil
}
