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
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

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
	fs       *faultfs.FS
	max      int64
	when     spool.WhenFull
	redactor receive.Redactor
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
		MaxBytes: o.max, SegmentBytes: 4 << 10, WhenFull: o.when, Cursors: []string{"x"}, State: accepted.State,
		Count: func(head []byte) uint64 {
			h, err := frame.Head(head)
			if err != nil {
				t.Error(err)
			}
			return uint64(h.GetPairs())
		},
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
	r.registry = registry.New(log, nil)
	r.receiver = receive.New(receive.Settings{
		ForwarderID: "f", Version: "v", Cluster: "prod", Spool: sp, Accepted: accepted, Registry: r.registry,
		Filter: fl, Redactor: o.redactor, Log: log, Repeated: lograte.New(log, time.Hour),
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- r.receiver.Run(ctx, ln) }()
	cc, err := grpc.NewClient("passthrough:///"+r.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
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
		if err := <-done; err != nil {
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
	s := r.push()
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
		"full": func(d *faultfs.FS) { d.SetCapacity(d.Used() + 100) },
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
			r.fs.SetCapacity(0)
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

// TestSpoolFullDropNewest: what does not fit is acknowledged and counted, in
// a note while there is room for notes, then by the spool itself. received =
// kept + filtered + dropped, and a batch that comes again is not counted again.
func TestSpoolFullDropNewest(t *testing.T) {
	r := start(t, options{max: 12 << 10, when: spool.DropNewest})
	r.register(1)
	const n = 120
	s := r.push()
	for i := range uint64(n) {
		s.send(batch(1, 1+i))
	}
	s.acked(n)
	check := func(r *rig) {
		t.Helper()
		var sum, notes uint64
		for e, err := range r.spool.Log().Records(0) {
			if err != nil {
				t.Fatal(err)
			}
			h, err := frame.Head(e.Head)
			if err != nil {
				t.Fatal(err)
			}
			sum += uint64(h.GetReceived())
			if h.GetDropped()[receive.ReasonSpoolFull] > 0 {
				notes++
			}
		}
		loss := r.spool.Dropped()[receive.ReasonSpoolFull]
		if notes == 0 || loss.Things == 0 || sum+loss.Things != n*perBatch {
			t.Errorf("%d pairs in records, %d notes, %+v counted by the spool", sum, notes, loss)
		}
	}
	check(r)
	s = r.push()
	s.send(batch(1, n))
	s.acked(n)
	check(r)
	r.stop()
	check(start(t, options{fs: r.fs.Kill(), max: 12 << 10, when: spool.DropNewest}))
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
	if totals := r.receiver.Totals(); totals.Dropped[receive.ReasonFault] != perBatch || totals.Pairs != 2*(perBatch-1) {
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
	list, _ := r.registry.Snapshot()
	if len(list) != 1 || list[0].GetState() != capturev1.ProxyStatus_STATE_CONNECTED || list[0].GetCounters().GetSeen() != 42 || list[0].GetSource().GetCluster() != "prod" {
		t.Errorf("%v", list)
	}
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
