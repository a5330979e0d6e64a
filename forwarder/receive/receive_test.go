package receive_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/forwarder/filter"
	"github.com/weir-capture/weir/forwarder/receive"
	"github.com/weir-capture/weir/forwarder/registry"
	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/internal/lograte"
	"github.com/weir-capture/weir/internal/vfs/faultfs"
	"github.com/weir-capture/weir/seglog"
	"github.com/weir-capture/weir/spool"
)

// rig is a receiver on a directory in memory, behind a real port.
type rig struct {
	t        *testing.T
	fs       *faultfs.FS
	spool    *spool.Spool
	registry *registry.Registry
	receiver *receive.Receiver
	client   capturev1.ProxyServiceClient
	addr     string
	stop     func()
}

type options struct {
	fs        *faultfs.FS
	max       int64
	when      spool.WhenFull
	redactor  receive.Redactor
	keepOneIn func(app string) uint32
	door      receive.Door
	now       func() time.Time
	// listener and dial replace a real port.
	listener net.Listener
	dial     grpc.DialOption
}

func start(t *testing.T, o options) *rig {
	t.Helper()
	if o.fs == nil {
		o.fs = faultfs.New()
	}
	if o.max == 0 {
		o.max = 64 << 20
	}
	if o.when == "" {
		o.when = spool.DropOldest
	}
	if o.redactor == nil {
		o.redactor = receive.NoRedaction{}
	}
	accepted := receive.NewAccepted(time.Now)
	sp, err := spool.OpenFS(o.fs, spool.Options{
		MaxBytes: o.max, SegmentBytes: 4 << 10, WhenFull: o.when, Cursors: []string{"x"}, State: accepted.State, Now: o.now,
		Count: receive.Pairs, Condense: receive.Condense(lograte.New(slog.New(slog.DiscardHandler), time.Hour)),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := accepted.Recover(sp.Log()); err != nil {
		t.Fatal(err)
	}
	fl, err := filter.Load(filter.Standard)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	r := &rig{t: t, fs: o.fs, spool: sp}
	r.registry = registry.New(log, func(e registry.Epoch) { r.receiver.Expire(e) })
	r.receiver = receive.New(receive.Settings{
		ForwarderID: "f", Version: "v", Cluster: "prod", Spool: sp, Accepted: accepted, Registry: r.registry,
		Filter: fl, Redactor: o.redactor, KeepOneIn: o.keepOneIn, Log: log, Repeated: lograte.New(log, time.Hour), Door: o.door,
	})
	ln, dial := o.listener, []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	if ln == nil {
		if ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	} else {
		dial = append(dial, o.dial)
	}
	r.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- r.receiver.Run(ctx, ln) }()
	reaping := make(chan error)
	go func() { reaping <- r.registry.Run(ctx) }()
	cc, err := grpc.NewClient("passthrough:///"+r.addr, dial...)
	if err != nil {
		t.Fatal(err)
	}
	r.client = capturev1.NewProxyServiceClient(cc)
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := errors.Join(<-done, <-reaping); err != nil {
			t.Error(err)
		}
		_ = cc.Close()
		_ = sp.Close()
	}
	t.Cleanup(r.stop)
	return r
}

func source(epoch byte) *capturev1.Source {
	return &capturev1.Source{App: "shop", Pod: "shop-1", ProxyId: "shop-1", Epoch: bytes.Repeat([]byte{epoch}, 16)}
}

func (r *rig) register(epoch byte) *capturev1.RegisterResponse {
	r.t.Helper()
	resp, err := r.client.Register(r.t.Context(), &capturev1.RegisterRequest{Source: source(epoch), Version: "v1"})
	if err != nil {
		r.t.Fatal(err)
	}
	return resp
}

type stream struct {
	t *testing.T
	grpc.BidiStreamingClient[capturev1.PushRequest, capturev1.PushResponse]
}

func (r *rig) push() stream {
	r.t.Helper()
	s, err := r.client.Push(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return stream{r.t, s}
}

func (s stream) send(b *capturev1.Batch) {
	s.t.Helper()
	if err := s.Send(&capturev1.PushRequest{Kind: &capturev1.PushRequest_Batch{Batch: b}}); err != nil && !errors.Is(err, io.EOF) {
		s.t.Fatal(err)
	}
}

// acked waits for the acknowledgement of a batch.
func (s stream) acked(seq uint64) {
	s.t.Helper()
	for {
		resp, err := s.Recv()
		if err != nil {
			s.t.Fatalf("waiting for the acknowledgement of %d: %v", seq, err)
		}
		if got := resp.GetAck().GetThrough(); got >= seq {
			if got > seq {
				s.t.Fatalf("acknowledged %d, sent %d", got, seq)
			}
			return
		}
	}
}

// ended waits for the stream's end and gives its status.
func (s stream) ended() *status.Status {
	for {
		if _, err := s.Recv(); err != nil {
			return status.Convert(err)
		}
	}
}

const perBatch = 4

// batch is the batch of an epoch with this sequence; its last pair is a health
// check.
func batch(epoch byte, seq uint64) *capturev1.Batch {
	b := &capturev1.Batch{Source: source(epoch), Seq: seq, FirstPairSeq: 1 + (seq-1)*perBatch, Counters: &capturev1.Counters{Seen: seq * perBatch}}
	for i := range uint64(perBatch) {
		n := b.FirstPairSeq + i
		id := binary.BigEndian.AppendUint64(bytes.Repeat([]byte{epoch}, 8), n)
		p := &capturev1.RRPair{
			Id: id, ProxySeq: n, Protocol: "http", Method: "GET", Path: fmt.Sprintf("/item/%d", n),
			Timing:  &capturev1.Timing{RequestFirst: int64(n)},
			Request: &capturev1.Message{Head: fmt.Appendf(nil, "GET /item/%d HTTP/1.1\r\n\r\n", n), Body: []byte("my password")},
		}
		if i == perBatch-1 {
			p.Path = "/healthz"
		}
		b.Pairs = append(b.Pairs, p)
	}
	return b
}

// spooled reads the spool: the batches by epoch in order, after checking that
// each is whole.
func (r *rig) spooled() map[byte][]uint64 {
	r.t.Helper()
	got := map[byte][]uint64{}
	for e, err := range r.spool.Log().Records(0) {
		if err != nil {
			if _, ok := errors.AsType[*seglog.RemovedError](err); ok {
				continue
			}
			r.t.Fatal(err)
		}
		h, err := frame.Head(e.Head)
		if err != nil {
			r.t.Fatal(err)
		}
		pairs, err := frame.Pairs(h, e.Body)
		if err != nil {
			r.t.Fatal(err)
		}
		for i, p := range pairs {
			if p.GetProxySeq() != h.GetFirstPairSeq()+uint64(i) || p.GetSource().GetCluster() != "prod" || p.GetSource().GetApp() != "shop" {
				r.t.Fatalf("pair %v", p)
			}
		}
		if h.GetReceived() != perBatch || h.GetCounters().GetSeen() != h.GetBatchSeq()*perBatch {
			r.t.Fatalf("head %v", h)
		}
		got[h.GetSource().GetEpoch()[0]] = append(got[h.GetSource().GetEpoch()[0]], h.GetBatchSeq())
	}
	return got
}

func seqs(from, to uint64) (out []uint64) {
	for i := from; i <= to; i++ {
		out = append(out, i)
	}
	return out
}

func TestEachBatchOnce(t *testing.T) {
	r := start(t, options{})
	if resp := r.register(1); len(resp.GetAckedBatches()) != 0 || time.Duration(resp.GetLease()) != 45*time.Second || resp.GetCluster() != "prod" {
		t.Errorf("%v", resp)
	}
	s := r.push()
	for i := range uint64(20) {
		s.send(batch(1, 1+i))
	}
	s.acked(20)
	// The acknowledgements are lost: everything comes again, and a bit more.
	s2 := r.push()
	for i := range uint64(15) {
		s2.send(batch(1, 10+i))
	}
	s2.acked(24)
	if got := s.ended(); got.Code() != codes.Aborted {
		t.Errorf("the first stream ended with %v", got)
	}
	if got := r.spooled()[1]; !slices.Equal(got, seqs(1, 24)) {
		t.Errorf("spooled %v", got)
	}
	// The forwarder is killed; the proxy does not know what it had.
	r.stop()
	r = start(t, options{fs: r.fs.Kill()})
	resp := r.register(1)
	if a := resp.GetAckedBatches(); len(a) != 1 || a[0].GetFirst() != 1 || a[0].GetLast() != 24 {
		t.Errorf("%v", a)
	}
	s = r.push()
	for i := range uint64(30) {
		s.send(batch(1, 1+i))
	}
	s.acked(30)
	if got := r.spooled()[1]; !slices.Equal(got, seqs(1, 30)) {
		t.Errorf("spooled %v", got)
	}
	totals := r.receiver.Totals()
	if totals.Pairs != 6*(perBatch-1) || totals.Filtered["health_check"] != 6 {
		t.Errorf("%+v", totals)
	}
}

// TestAcceptedOutlivesItsSegments: what was acknowledged is known after the
// segments that held it are gone.
func TestAcceptedOutlivesItsSegments(t *testing.T) {
	r := start(t, options{})
	r.register(1)
	s := r.push()
	for i := range uint64(100) {
		s.send(batch(1, 1+i))
	}
	s.acked(100)
	if err := r.spool.Cursor("x").Advance(r.spool.Log().Next()); err != nil {
		t.Fatal(err)
	}
	if got := len(r.spooled()[1]); got > 40 {
		t.Fatalf("%d records are still there", got)
	}
	r.stop()
	r = start(t, options{fs: r.fs.Kill()})
	if a := r.register(1).GetAckedBatches(); len(a) != 1 || a[0].GetFirst() != 1 || a[0].GetLast() != 100 {
		t.Errorf("%v", a)
	}
}

func TestManyProxiesAtOnce(t *testing.T) {
	r := start(t, options{})
	const proxies, n = 12, 40
	done := make(chan byte)
	for e := range byte(proxies) {
		r.register(e)
		s := r.push()
		go func() {
			defer func() { done <- e }()
			for i := range uint64(n) {
				s.send(batch(e, 1+i))
			}
			s.acked(n)
		}()
	}
	for range proxies {
		<-done
	}
	got := r.spooled()
	for e := range byte(proxies) {
		if !slices.Equal(got[e], seqs(1, n)) {
			t.Errorf("proxy %d: %v", e, got[e])
		}
	}
}

func TestNothingLeftIsARecordToo(t *testing.T) {
	r := start(t, options{})
	r.register(1)
	b := batch(1, 1)
	for _, p := range b.GetPairs() {
		p.Path = "/livez"
	}
	s := r.push()
	s.send(b)
	s.acked(1)
	n := 0
	for e, err := range r.spool.Log().Records(0) {
		if err != nil {
			t.Fatal(err)
		}
		h, err := frame.Head(e.Head)
		if err != nil || h.GetPairs() != 0 || h.GetFiltered()["health_check"] != perBatch || len(e.Body) != 0 {
			t.Errorf("%v %v", h, err)
		}
		n++
	}
	if n != 1 {
		t.Errorf("%d records", n)
	}
}

func TestRefused(t *testing.T) {
	r := start(t, options{})
	r.register(1)
	edit := func(f func(b *capturev1.Batch)) []*capturev1.Batch {
		b := batch(1, 2)
		f(b)
		return []*capturev1.Batch{batch(1, 1), b}
	}
	for want, batches := range map[string][]*capturev1.Batch{
		"epoch of 3 bytes":             edit(func(b *capturev1.Batch) { b.Source.Epoch = []byte("abc") }),
		"not the stream's":             edit(func(b *capturev1.Batch) { b.Source = source(9) }),
		"sequences begin with 1":       edit(func(b *capturev1.Batch) { b.Seq = 0 }),
		"sequences must ascend":        {batch(1, 1), batch(1, 1)},
		"65 pairs, at most 64":         edit(func(b *capturev1.Batch) { b.Pairs = make([]*capturev1.RRPair, 65); fill(b) }),
		"id of 2 bytes":                edit(func(b *capturev1.Batch) { b.Pairs[1].Id = []byte("ab") }),
		"pairs must follow one anothe": edit(func(b *capturev1.Batch) { b.Pairs[2].ProxySeq++ }),
		"no proxy id":                  {{Source: &capturev1.Source{Epoch: make([]byte, 16)}, Seq: 1}},
		"epoch of 0 bytes":             {{Seq: 1}},
		"counters of":                  edit(func(b *capturev1.Batch) { b.Counters.Dropped = map[string]uint64{strings.Repeat("x", 20<<10): 1} }),
		"source: ":                     edit(func(b *capturev1.Batch) { b.Source.Cluster = strings.Repeat("x", 20<<10) }),
	} {
		s := r.push()
		for _, b := range batches {
			s.send(b)
		}
		if got := s.ended(); got.Code() != codes.InvalidArgument || !strings.Contains(got.Message(), want) {
			t.Errorf("want %s, got %v", want, got)
		}
	}
	// What came before the mistake was taken.
	if got := r.spooled()[1]; !slices.Equal(got, seqs(1, 1)) {
		t.Errorf("spooled %v", got)
	}
	// A heartbeat is kept, and goes to the analyzer each second.
	s := r.push()
	if err := s.Send(&capturev1.PushRequest{Kind: &capturev1.PushRequest_Heartbeat{Heartbeat: &capturev1.Heartbeat{
		Source: source(1), State: &capturev1.ProxyState{UpstreamError: strings.Repeat("x", 20<<10)},
	}}}); err != nil {
		t.Fatal(err)
	}
	if got := s.ended(); got.Code() != codes.InvalidArgument || !strings.Contains(got.Message(), "heartbeat of") {
		t.Errorf("a heartbeat without bound: %v", got)
	}
	s = r.push()
	s.send(batch(7, 1))
	if got := s.ended(); got.Code() != codes.FailedPrecondition {
		t.Errorf("not registered: %v", got)
	}
	for want, src := range map[string]*capturev1.Source{
		"epoch": {ProxyId: "a"}, "no proxy id": {Epoch: make([]byte, 16)},
		"at most": {ProxyId: strings.Repeat("x", 2000), Epoch: make([]byte, 16)},
	} {
		_, err := r.client.Register(t.Context(), &capturev1.RegisterRequest{Source: src})
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), want) {
			t.Errorf("register: %v, want %s", err, want)
		}
	}
}

func fill(b *capturev1.Batch) {
	for i := range b.Pairs {
		b.Pairs[i] = &capturev1.RRPair{Id: make([]byte, 16), ProxySeq: b.FirstPairSeq + uint64(i)}
	}
}

// TestDiskTrouble: what cannot be made durable is not acknowledged; once the
// disk works again the same forwarder goes on.
func TestDiskTrouble(t *testing.T) {
	for name, trouble := range map[string]func(*faultfs.FS){
		"sync": func(d *faultfs.FS) {
			d.SetFault(func(op faultfs.Op) *faultfs.Fault {
				if op.Kind == "sync" {
					return &faultfs.Fault{Err: syscall.EIO}
				}
				return nil
			})
		},
		"write": func(d *faultfs.FS) {
			d.SetFault(func(op faultfs.Op) *faultfs.Fault {
				if op.Kind == "write" {
					return &faultfs.Fault{Err: syscall.EIO, Short: 7}
				}
				return nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, options{})
			r.register(1)
			s := r.push()
			s.send(batch(1, 1))
			s.acked(1)
			trouble(r.fs)
			s.send(batch(1, 2))
			if got := s.ended(); got.Code() != codes.Unavailable || !strings.Contains(got.Message(), "disk") {
				t.Errorf("%v", got)
			}
			r.fs.SetFault(nil)
			s = r.push()
			s.send(batch(1, 2))
			s.send(batch(1, 3))
			s.acked(3)
			if got := r.spooled()[1]; !slices.Equal(got, seqs(1, 3)) {
				t.Errorf("spooled %v", got)
			}
		})
	}
}

// TestR19SpoolFullDropNewest: what does not fit is declared and acknowledged,
// and counted once however often it comes; what can't even be declared stays
// with its proxy until there is room. received = kept + filtered + dropped.
func TestR19SpoolFullDropNewest(t *testing.T) {
	const limit, n = 12 << 10, 300
	r := start(t, options{max: limit, when: spool.DropNewest})
	r.register(1)
	// refused sends all batches that are not acknowledged, and gives what the
	// stream ended with.
	acked := uint64(0)
	refused := func() *status.Status {
		t.Helper()
		s := r.push()
		go func() {
			for seq := acked + 1; seq <= n; seq++ {
				_ = s.Send(&capturev1.PushRequest{Kind: &capturev1.PushRequest_Batch{Batch: batch(1, seq)}})
			}
		}()
		for {
			resp, err := s.Recv()
			if err != nil {
				return status.Convert(err)
			}
			if acked = max(acked, resp.GetAck().GetThrough()); acked == n {
				return nil
			}
		}
	}
	for range 3 {
		if got := refused(); got == nil || got.Code() != codes.Unavailable || !strings.Contains(got.Message(), "the forwarder's spool is full and") {
			t.Fatalf("acknowledged %d, ended with %v", acked, got)
		}
	}
	var sum, declared uint64
	for e, err := range r.spool.Log().Records(0) {
		if err != nil {
			t.Fatal(err)
		}
		h, err := frame.Head(e.Head)
		if err != nil {
			t.Fatal(err)
		}
		sum += uint64(h.GetReceived())
		declared += uint64(h.GetDropped()[frame.ReasonSpoolFull])
		if h.GetTimeMin() == 0 || h.GetTimeMax() < h.GetTimeMin() {
			t.Errorf("batch %d says nothing of when its pairs were", h.GetBatchSeq())
		}
	}
	here := r.spooled()[1]
	took := uint64(len(here))
	if !slices.Equal(here, seqs(1, took)) || took < acked || took >= n || sum != took*perBatch || declared == 0 {
		t.Errorf("acknowledged %d, %d in the spool with %d pairs, %d of them declared: %v", acked, took, sum, declared, here)
	}
	totals := r.receiver.Totals()
	if totals.Pairs+totals.Filtered["health_check"]+totals.Dropped[frame.ReasonSpoolFull] != took*perBatch || totals.Dropped[frame.ReasonSpoolFull] != declared {
		t.Errorf("%d batches, %+v", took, totals)
	}
	// A kill in between the declaration and its acknowledgement: it is known.
	r.stop()
	r = start(t, options{fs: r.fs.Kill(), max: limit, when: spool.DropNewest})
	if a := r.register(1).GetAckedBatches(); len(a) != 1 || a[0].GetFirst() != 1 || a[0].GetLast() != took {
		t.Errorf("%v, want 1 to %d", a, took)
	}
	// There is room again: the same forwarder goes on.
	for acked < n {
		if err := r.spool.Cursor("x").Advance(r.spool.Log().Next()); err != nil {
			t.Fatal(err)
		}
		refused()
	}
	if a := r.register(1).GetAckedBatches(); len(a) != 1 || a[0].GetFirst() != 1 || a[0].GetLast() != n {
		t.Errorf("%v, want 1 to %d", a, n)
	}
	totals = r.receiver.Totals()
	if got := totals.Pairs + totals.Filtered["health_check"] + totals.Dropped[frame.ReasonSpoolFull]; got != (n-took)*perBatch {
		t.Errorf("%d pairs counted after the restart, %d came: %+v", got, (n-took)*perBatch, totals)
	}
}

// account holds the spool to the law, as long as nobody has taken anything of
// it: every batch from 1 to n is there once, or declared lost, and none is
// twice. It tells how many pairs are there and how many are not, and why.
func (r *rig) account(n uint64) (pairs, filtered, dropped uint64) {
	r.t.Helper()
	here, lost := map[uint64]bool{}, map[uint64]uint64{}
	for e, err := range r.spool.Log().Records(0) {
		if err != nil {
			if _, ok := errors.AsType[*seglog.RemovedError](err); ok {
				continue
			}
			r.t.Fatal(err)
		}
		h, err := frame.Head(e.Head)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, run := range h.GetLost() {
			for i, n := range run.GetPairs() {
				seq := run.GetFirstBatch() + uint64(i)
				if _, twice := lost[seq]; twice {
					r.t.Errorf("batch %d is declared twice", seq)
				}
				lost[seq] = uint64(n)
				dropped += uint64(n)
			}
			for _, n := range run.GetFiltered() {
				filtered += uint64(n)
			}
			for _, n := range run.GetDropped() {
				dropped += uint64(n)
			}
		}
		if frame.IsLoss(h) {
			continue
		}
		if here[h.GetBatchSeq()] {
			r.t.Errorf("batch %d is there twice", h.GetBatchSeq())
		}
		here[h.GetBatchSeq()] = true
		pairs += uint64(h.GetPairs())
		for _, n := range h.GetFiltered() {
			filtered += uint64(n)
		}
		for _, n := range h.GetDropped() {
			dropped += uint64(n)
		}
	}
	for seq := uint64(1); seq <= n; seq++ {
		_, gone := lost[seq]
		if here[seq] == gone {
			r.t.Errorf("batch %d: there %v, lost %v", seq, here[seq], gone)
		}
	}
	if sum := pairs + filtered + dropped; sum != n*perBatch {
		r.t.Errorf("%d pairs, %d filtered, %d dropped: %d of %d that were taken", pairs, filtered, dropped, sum, n*perBatch)
	}
	return pairs, filtered, dropped
}

// TestR19DiskFull: the disk is full before the spool's own limit is reached.
// The policy decides what goes, all of it is declared, and when there is room
// again the same process goes on.
func TestR19DiskFull(t *testing.T) {
	for _, when := range []spool.WhenFull{spool.DropOldest, spool.DropNewest} {
		t.Run(string(when), func(t *testing.T) {
			d := faultfs.New()
			var later atomic.Int64
			now := func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
			r := start(t, options{fs: d, max: 1 << 20, when: when, now: now})
			r.register(1)
			const n = 900
			d.SetCapacity(d.Used() + 24<<10)
			acked := uint64(0)
			ship := func(through uint64) *status.Status {
				t.Helper()
				s := r.push()
				go func() {
					for seq := acked + 1; seq <= through; seq++ {
						_ = s.Send(&capturev1.PushRequest{Kind: &capturev1.PushRequest_Batch{Batch: batch(1, seq)}})
					}
				}()
				for acked < through {
					resp, err := s.Recv()
					if err != nil {
						return status.Convert(err)
					}
					acked = max(acked, resp.GetAck().GetThrough())
				}
				return nil
			}
			refused := ship(n)
			if refused == nil && when == spool.DropNewest {
				t.Errorf("all of %d batches fit on a disk that is full", n)
			}
			if refused != nil && (refused.Code() != codes.Unavailable || !strings.Contains(refused.Message(), "full")) {
				t.Errorf("%v", refused)
			}
			took := acked
			if a := r.register(1).GetAckedBatches(); len(a) == 1 {
				took = a[0].GetLast()
			}
			pairs, _, dropped := r.account(took)
			if pairs == 0 || dropped == 0 {
				t.Errorf("%d pairs are there, %d dropped", pairs, dropped)
			}
			totals := r.receiver.Totals()
			if sum := totals.Pairs + totals.Filtered["health_check"] + totals.Dropped[frame.ReasonSpoolFull]; sum != took*perBatch {
				t.Errorf("%d batches were taken, %+v", took, totals)
			}
			// Room, and no restart; the spool looks for it now and then.
			d.SetCapacity(0)
			later.Store(int64(time.Minute))
			poll(t, func() error {
				if got := ship(n + 50); got != nil {
					return got.Err()
				}
				return nil
			})
			after, _, _ := r.account(n + 50)
			if after <= pairs && when == spool.DropNewest {
				t.Errorf("%d pairs were there, and %d now that there is room", pairs, after)
			}
		})
	}
}

func poll(t *testing.T, f func() error) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Since(began) > 20*time.Second {
			t.Fatal(err)
		}
	}
}

type redactor func(*capturev1.RRPair) error

func (f redactor) Redact(p *capturev1.RRPair) error { return f(p) }
func (redactor) Name() string                       { return "test" }

// TestRedactedBeforeTheDisk: content that a rule removes, or that it could not
// be sure about, is in no file.
func TestRedactedBeforeTheDisk(t *testing.T) {
	r := start(t, options{redactor: redactor(func(p *capturev1.RRPair) error {
		if p.GetProxySeq() == 2 {
			return errors.New("cannot undo this encoding")
		}
		p.Request.Body = []byte("***")
		return nil
	})})
	var calls int
	r.fs.SetFault(func(op faultfs.Op) *faultfs.Fault { calls++; return nil })
	r.register(1)
	s := r.push()
	s.send(batch(1, 1))
	s.acked(1)
	for e, err := range r.spool.Log().Records(0) {
		if err != nil {
			t.Fatal(err)
		}
		h, err := frame.Head(e.Head)
		if err != nil {
			t.Fatal(err)
		}
		pairs, err := frame.Pairs(h, e.Body)
		if err != nil || len(pairs) != perBatch-1 {
			t.Fatal(len(pairs), err)
		}
		for _, p := range pairs {
			if bytes.Contains(p.GetRequest().GetBody(), []byte("password")) {
				t.Errorf("pair %d was not redacted", p.GetProxySeq())
			}
		}
		w := pairs[1]
		if len(w.GetRequest().GetHead()) != 0 || w.GetPath() != "" || !slices.Contains(w.GetFlags(), capturev1.Flag_FLAG_WITHHELD) {
			t.Errorf("not withheld: %v", w)
		}
	}
	if calls == 0 {
		t.Error("nothing was written")
	}
}

// TestPanicCostsOneBatch: whatever a batch does to the stages, it is counted
// and does not come again.
func TestPanicCostsOneBatch(t *testing.T) {
	r := start(t, options{redactor: redactor(func(p *capturev1.RRPair) error {
		if p.GetProxySeq() == perBatch+1 {
			panic("a mistake of ours")
		}
		return nil
	})})
	r.register(1)
	s := r.push()
	for i := range uint64(3) {
		s.send(batch(1, 1+i))
	}
	s.acked(3)
	if got := r.spooled()[1]; !slices.Equal(got, seqs(1, 3)) {
		t.Errorf("spooled %v", got)
	}
	if totals := r.receiver.Totals(); totals.Dropped[frame.ReasonFault] != perBatch || totals.Pairs != 2*(perBatch-1) {
		t.Errorf("%+v", totals)
	}
}

// TestRefusedIsNotAcknowledged: a batch of which not even the count can be kept
// stays with its proxy.
func TestRefusedIsNotAcknowledged(t *testing.T) {
	r := start(t, options{redactor: redactor(func(p *capturev1.RRPair) error {
		if p.GetProxySeq() > perBatch {
			p.Source.App = "\xff" // no text that protobuf takes
		}
		return nil
	})})
	r.register(1)
	s := r.push()
	s.send(batch(1, 1))
	s.send(batch(1, 2))
	through := uint64(0)
	for {
		resp, err := s.Recv()
		if err != nil {
			if status.Code(err) != codes.InvalidArgument {
				t.Error(err)
			}
			break
		}
		through = max(through, resp.GetAck().GetThrough())
	}
	if got := r.spooled()[1]; through != 1 || !slices.Equal(got, seqs(1, 1)) {
		t.Errorf("acknowledged through %d, spooled %v", through, got)
	}
}

// TestR30SilentProxyIsReapedAndComesBack in virtual time: its connection is
// well and it says nothing. After 45 s its stream ends, and it registers again
// with everything in its place.
func TestR30SilentProxyIsReapedAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := bufconn.Listen(64 << 10)
		r := start(t, options{listener: ln, dial: grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return ln.DialContext(ctx) })})
		state := func() string {
			list, _ := r.registry.Snapshot()
			return list[0].GetState().String()
		}
		r.register(1)
		s := r.push()
		for i := range uint64(5) {
			s.send(batch(1, 1+i))
		}
		s.acked(5)
		time.Sleep(44 * time.Second)
		synctest.Wait()
		if got := state(); got != "STATE_CONNECTED" {
			t.Errorf("after 44 s: %s", got)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := state(); got != "STATE_REAPED" {
			t.Errorf("after 46 s: %s", got)
		}
		if got := s.ended(); got.Code() != codes.Unavailable {
			t.Error(got)
		}
		began := time.Now()
		if a := r.register(1).GetAckedBatches(); len(a) != 1 || a[0].GetLast() != 5 {
			t.Errorf("%v", a)
		}
		s = r.push()
		for i := range uint64(6) {
			s.send(batch(1, 3+i)) // some of them again
		}
		s.acked(8)
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("it took %v", d)
		}
		if got := state(); got != "STATE_CONNECTED" {
			t.Error(got)
		}
		if got := r.spooled()[1]; !slices.Equal(got, seqs(1, 8)) {
			t.Errorf("spooled %v", got)
		}
		r.stop()
	})
}

func TestLeaseThatRanOutEndsTheStream(t *testing.T) {
	r := start(t, options{})
	r.register(1)
	s := r.push()
	s.send(batch(1, 1))
	s.acked(1)
	r.receiver.Expire(registry.Epoch(source(1).GetEpoch()))
	if got := s.ended(); got.Code() != codes.Unavailable {
		t.Error(got)
	}
}

// TestHeartbeatsAndGoodbye: the registry hears them, and after a goodbye the
// stream ends in order.
func TestHeartbeatsAndGoodbye(t *testing.T) {
	r := start(t, options{})
	r.register(1)
	s := r.push()
	beat := func(goodbye bool) {
		t.Helper()
		err := s.Send(&capturev1.PushRequest{Kind: &capturev1.PushRequest_Heartbeat{Heartbeat: &capturev1.Heartbeat{
			Source: source(1), Counters: &capturev1.Counters{Seen: 42}, Goodbye: goodbye,
		}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	beat(false)
	s.send(batch(1, 1))
	s.acked(1)
	// The batch may be acknowledged before the heartbeat that came with it is
	// looked at.
	var list []*capturev1.ProxyStatus
	poll(t, func() error {
		list, _ = r.registry.Snapshot()
		if len(list) != 1 || list[0].GetState() != capturev1.ProxyStatus_STATE_CONNECTED || list[0].GetCounters().GetSeen() != 42 || list[0].GetSource().GetCluster() != "prod" {
			return fmt.Errorf("%v", list)
		}
		return nil
	})
	beat(true)
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("after the goodbye: %v", err)
	}
	if list, _ = r.registry.Snapshot(); list[0].GetState() != capturev1.ProxyStatus_STATE_STOPPED {
		t.Errorf("%v", list)
	}
}

// TestStopTakesNothingMore: what was acknowledged before the end is in the
// spool, and open streams are told.
func TestStopTakesNothingMore(t *testing.T) {
	r := start(t, options{})
	r.register(1)
	s := r.push()
	s.send(batch(1, 1))
	s.acked(1)
	began := time.Now()
	r.stop()
	if d := time.Since(began); d > time.Second {
		t.Errorf("stopping took %v", d)
	}
	if got := s.ended(); got.Code() != codes.Unavailable {
		t.Error(got)
	}
}

// later puts fields into messages that this version does not know, as a peer
// of a later one does.
func later(ms ...proto.Message) {
	for _, m := range ms {
		var b []byte
		b = protowire.AppendTag(b, 20_000, protowire.BytesType)
		b = protowire.AppendString(b, "from a later version")
		m.ProtoReflect().SetUnknown(b)
	}
}

func fromLater(t *testing.T, what string, unknown []byte) {
	t.Helper()
	if !bytes.Contains(unknown, []byte("from a later version")) {
		t.Errorf("%s: the field that this version does not know is gone", what)
	}
}

// TestR33UnknownFieldsSurvive: a forwarder of this version between a proxy and
// an analyzer of a later one loses none of what they say to each other.
func TestR33UnknownFieldsSurvive(t *testing.T) {
	r := start(t, options{})
	r.register(1)
	b := batch(1, 1)
	p := b.GetPairs()[0]
	p.Response = new(capturev1.Message)
	later(b, b.GetSource(), b.GetCounters(), p, p.GetTiming(), p.GetRequest(), p.GetResponse())
	s := r.push()
	s.send(b)
	s.acked(1)
	for e, err := range r.spool.Log().Records(0) {
		if err != nil {
			t.Fatal(err)
		}
		h, err := frame.Head(e.Head)
		if err != nil {
			t.Fatal(err)
		}
		pairs, err := frame.Pairs(h, e.Body)
		if err != nil || len(pairs) != perBatch-1 {
			t.Fatal(len(pairs), err)
		}
		fromLater(t, "batch", h.GetBatchUnknown())
		got := pairs[0]
		for what, m := range map[string]proto.Message{
			"source": h.GetSource(), "counters": h.GetCounters(), "pair": got, "pair's source": got.GetSource(),
			"timing": got.GetTiming(), "request": got.GetRequest(), "response": got.GetResponse(),
		} {
			fromLater(t, what, m.ProtoReflect().GetUnknown())
		}
		if len(pairs[1].ProtoReflect().GetUnknown()) > 0 {
			t.Error("another pair has it too")
		}
	}
	// What nobody bounded is refused, not kept.
	huge := batch(1, 2)
	huge.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 20_000, protowire.BytesType), make([]byte, 100<<10)))
	s.send(huge)
	if got := s.ended(); got.Code() != codes.InvalidArgument {
		t.Error(got)
	}
}

// TestR33Versions: a proxy of the release before is served, and one that this
// version cannot understand is told so, and which of the two to replace.
func TestR33Versions(t *testing.T) {
	r := start(t, options{keepOneIn: func(string) uint32 { return 7 }})
	// Before there were versions: it said none, and knows no settings.
	r.register(1)
	s := r.push()
	for i := range uint64(3) {
		s.send(batch(1, 1+i))
		resp, err := s.Recv()
		if err != nil || resp.GetAck().GetThrough() != 1+i {
			t.Fatalf("%v %v", resp, err)
		}
	}
	// This version.
	now := func(epoch byte, version, oldest uint32) (*capturev1.RegisterResponse, error) {
		return r.client.Register(t.Context(), &capturev1.RegisterRequest{Source: source(epoch), ApiVersion: version, ApiOldest: oldest})
	}
	resp, err := now(2, capturev1.APIVersion, capturev1.APIOldest)
	if err != nil || resp.GetApiVersion() != capturev1.APIVersion || resp.GetApiOldest() != capturev1.APIOldest || resp.GetSettings().GetKeepOneIn() != 7 {
		t.Errorf("%v %v", resp, err)
	}
	// The next one, which still understands this.
	if _, err := now(3, capturev1.APIVersion+1, capturev1.APIVersion); err != nil {
		t.Error(err)
	}
	// One that does not.
	_, err = now(4, capturev1.APIVersion+2, capturev1.APIVersion+1)
	want := fmt.Sprintf("the proxy needs version %d at least, this program speaks %d", capturev1.APIVersion+1, capturev1.APIVersion)
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), want) {
		t.Errorf("%v", err)
	}
	if list, _ := r.registry.Snapshot(); len(list) != 3 {
		t.Errorf("%d proxies are known", len(list))
	}
}

// settings waits for the next word on sampling.
func (s stream) settings() uint32 {
	s.t.Helper()
	for {
		resp, err := s.Recv()
		if err != nil {
			s.t.Fatalf("waiting for settings: %v", err)
		}
		if resp.GetSettings() != nil {
			return resp.GetSettings().GetKeepOneIn()
		}
	}
}

// TestSettingsReachConnectedProxies: what changes between registering and the
// stream, and while that is open, is told; what does not is not.
func TestSettingsReachConnectedProxies(t *testing.T) {
	var keep atomic.Uint32
	keep.Store(10)
	r := start(t, options{keepOneIn: func(app string) uint32 {
		if app != "shop" {
			t.Errorf("asked about %q", app)
		}
		return keep.Load()
	}})
	req := &capturev1.RegisterRequest{Source: source(1), ApiVersion: capturev1.APIVersion}
	if resp, err := r.client.Register(t.Context(), req); err != nil || resp.GetSettings().GetKeepOneIn() != 10 {
		t.Fatal(resp, err)
	}
	keep.Store(20)
	s := r.push()
	s.send(batch(1, 1))
	if got := s.settings(); got != 20 {
		t.Errorf("told 1/%d", got)
	}
	for _, next := range []uint32{5, 1, 0} {
		keep.Store(next)
		r.receiver.Retune()
		r.receiver.Retune()
		if got := s.settings(); got != next {
			t.Errorf("told 1/%d, want 1/%d", got, next)
		}
	}
	r.receiver.Retune()
	s.send(batch(1, 2))
	s.acked(2)
}

// TestPeerThatReadsNothing does not hold up the stream that its proxy opens
// next, though the first has more to tell it than fits on the way.
func TestPeerThatReadsNothing(t *testing.T) {
	t.Parallel()
	r := start(t, options{})
	r.register(1)
	cc, err := grpc.NewClient("passthrough:///"+r.addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStaticStreamWindowSize(64<<10), grpc.WithStaticConnWindowSize(64<<10))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	deaf, err := capturev1.NewProxyServiceClient(cc).Push(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Large numbers, so that acknowledgements are long: 17 bytes each,
	// in a window of 64 KiB and as much before it. Some 7,800 of them fill it.
	const first, n = 1 << 62, 9_000
	at := r.spool.Log().Next()
	for i := range uint64(n) {
		b := &capturev1.Batch{Source: source(1), Seq: first + i, FirstPairSeq: 1 + i, Pairs: []*capturev1.RRPair{{Id: make([]byte, 16), ProxySeq: 1 + i}}}
		if err := deaf.Send(&capturev1.PushRequest{Kind: &capturev1.PushRequest_Batch{Batch: b}}); err != nil {
			t.Fatal(err)
		}
		// One by one, so that each is acknowledged on its own.
		for began := time.Now(); r.spool.Log().Next() == at; time.Sleep(20 * time.Microsecond) {
			if time.Since(began) > 10*time.Second {
				t.Fatalf("batch %d of a peer that reads nothing is not taken", i)
			}
		}
		at = r.spool.Log().Next()
	}
	s := r.push()
	began := time.Now()
	s.send(&capturev1.Batch{Source: source(1), Seq: first + n, FirstPairSeq: 1 + n, Pairs: []*capturev1.RRPair{{Id: make([]byte, 16), ProxySeq: 1 + n}}})
	s.acked(first + n)
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("the next stream waited for %v", d)
	}
}

// vanishing is a connection whose other end can go away without a word.
type vanishing struct {
	net.Conn
	gone *atomic.Bool
}

func (c vanishing) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if err != nil || !c.gone.Load() {
			return n, err
		}
	}
}

func (c vanishing) Write(b []byte) (int, error) {
	if c.gone.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// TestR12HalfOpenProxyIsNoticed: a proxy whose machine is gone, without a word
// on the wire, counts as away within 20 s (of virtual time).
func TestR12HalfOpenProxyIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := bufconn.Listen(64 << 10)
		var gone atomic.Bool
		r := start(t, options{listener: ln, dial: grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			c, err := ln.DialContext(ctx)
			return vanishing{c, &gone}, err
		})})
		r.register(1)
		s := r.push()
		s.send(batch(1, 1))
		s.acked(1)
		state := func() capturev1.ProxyStatus_State {
			list, _ := r.registry.Snapshot()
			return list[0].GetState()
		}
		gone.Store(true)
		began := time.Now()
		for state() == capturev1.ProxyStatus_STATE_CONNECTED {
			if time.Since(began) > 20*time.Second {
				t.Fatal("still connected after 20 s")
			}
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
		}
		t.Logf("noticed after %v", time.Since(began))
		if got := state(); got != capturev1.ProxyStatus_STATE_AWAY {
			t.Error(got)
		}
		r.stop()
	})
}

// TestR12SlowDisk: a write that takes longer than a lease costs no proxy its
// lease, and its batch is taken once.
func TestR12SlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := bufconn.Listen(64 << 10)
		r := start(t, options{listener: ln, dial: grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return ln.DialContext(ctx) })})
		r.register(1)
		s := r.push()
		s.send(batch(1, 1))
		s.acked(1)
		var once sync.Once
		r.fs.SetFault(func(op faultfs.Op) *faultfs.Fault {
			if op.Kind == "sync" {
				once.Do(func() { time.Sleep(2 * time.Minute) })
			}
			return nil
		})
		began := time.Now()
		s.send(batch(1, 2))
		s.acked(2)
		if d := time.Since(began); d < 2*time.Minute {
			t.Fatalf("the disk took %v only", d)
		}
		list, _ := r.registry.Snapshot()
		if got := list[0].GetState(); got != capturev1.ProxyStatus_STATE_CONNECTED {
			t.Error(got)
		}
		s.send(batch(1, 3))
		s.acked(3)
		if got := r.spooled()[1]; !slices.Equal(got, seqs(1, 3)) {
			t.Errorf("spooled %v", got)
		}
		r.stop()
	})
}
