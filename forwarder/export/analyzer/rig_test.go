package analyzer_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/forwarder/export/analyzer"
	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/internal/lograte"
	"github.com/weir-capture/weir/seglog"
	"github.com/weir-capture/weir/spool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// poll waits until f is content.
func poll(t *testing.T, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %s: %v", what, err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(f *capturev1.Frame) uint32 {
	return crc32.Update(crc32.Checksum(f.GetHead(), castagnoli), castagnoli, f.GetBody())
}

// shelf is what a fake analyzer has of one spool.
type shelf struct {
	frames map[uint64]kept // by offset
	order  []uint64        // in which they came
}

type kept struct {
	next uint64
	sum  uint32
}

// have is the shelf as ranges.
func (s *shelf) have(version uint32) *capturev1.ExportResponse_Have {
	h := &capturev1.ExportResponse_Have{AnalyzerId: "fake", ApiVersion: version}
	var ranges []*capturev1.OffsetRange
	for _, at := range slices.Sorted(maps.Keys(s.frames)) {
		f := s.frames[at]
		if version > 0 {
			h.Last = &capturev1.ExportResponse_LastFrame{Offset: at, Checksum: f.sum}
		}
		if n := len(ranges); n > 0 && ranges[n-1].To >= at {
			ranges[n-1].To = max(ranges[n-1].To, f.next)
			continue
		}
		ranges = append(ranges, &capturev1.OffsetRange{From: at, To: f.next})
	}
	if version == 0 {
		if n := len(ranges); n > 0 {
			h.NextOffset = ranges[n-1].To
		}
		return h
	}
	if len(ranges) > 0 && ranges[0].From == 0 {
		h.NextOffset, ranges = ranges[0].To, ranges[1:]
	}
	h.Ranges = ranges
	return h
}

// fakeAnalyzer stores frames in memory, as an analyzer does on its disk.
type fakeAnalyzer struct {
	capturev1.UnimplementedIngestServiceServer
	t               *testing.T
	addr            string
	version, oldest uint32

	mu      sync.Mutex
	server  *grpc.Server
	served  chan error
	shelves map[string]*shelf
	hellos  []*capturev1.Hello
	batches map[string]string // "epoch/seq": the spool that brought it
	pairs   map[string]int    // by id
	lost    map[string]int    // pairs declared, by reason
	missing []string
	again   int // frames that came although they were there
	again2  int // batches that another spool had brought
	status  *capturev1.ForwarderStatus
	reports int // statuses with telemetry
	// What it does besides.
	mute   bool                           // stores and does not acknowledge
	refuse func(f *capturev1.Frame) bool  // ends the stream with InvalidArgument
	named  bool                           // says which frame it refuses
	stall  chan struct{}                  // closed: reads again
	slow   func()                         // before each frame
	stored func(id string, offset uint64) // after each frame
}

func newAnalyzer(t *testing.T) *fakeAnalyzer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &fakeAnalyzer{
		t: t, addr: ln.Addr().String(), version: capturev1.APIVersion,
		shelves: map[string]*shelf{}, batches: map[string]string{}, pairs: map[string]int{}, lost: map[string]int{},
	}
	_ = ln.Close()
	t.Cleanup(a.stop)
	return a
}

func (a *fakeAnalyzer) start() {
	a.t.Helper()
	var ln net.Listener
	poll(a.t, "the analyzer's port", func() (err error) {
		ln, err = net.Listen("tcp", a.addr)
		return err
	})
	a.serve(ln)
}

func (a *fakeAnalyzer) serve(ln net.Listener) {
	s := grpc.NewServer(grpc.MaxRecvMsgSize(32<<20),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}))
	capturev1.RegisterIngestServiceServer(s, a)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	a.mu.Lock()
	a.server, a.served = s, served
	a.mu.Unlock()
}

// stop cuts all connections, as a kill does.
func (a *fakeAnalyzer) stop() {
	a.mu.Lock()
	s, served := a.server, a.served
	a.server = nil
	a.mu.Unlock()
	if s != nil {
		s.Stop()
		<-served
	}
}

func (a *fakeAnalyzer) with(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

func (a *fakeAnalyzer) shelf(id string) *shelf {
	if a.shelves[id] == nil {
		a.shelves[id] = &shelf{frames: map[uint64]kept{}}
	}
	return a.shelves[id]
}

func (a *fakeAnalyzer) Export(stream grpc.BidiStreamingServer[capturev1.ExportRequest, capturev1.ExportResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	hello := first.GetHello()
	id := string(hello.GetSpoolId())
	a.mu.Lock()
	a.hellos = append(a.hellos, hello)
	have := a.shelf(id).have(a.version)
	have.ApiOldest = a.oldest
	stall, slow := a.stall, a.slow
	a.mu.Unlock()
	if err := stream.Send(&capturev1.ExportResponse{Kind: &capturev1.ExportResponse_Have_{Have: have}}); err != nil {
		return err
	}
	if stall != nil {
		select {
		case <-stall:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if st := req.GetStatus(); st != nil {
			a.with(func() {
				if a.status = st; st.GetTelemetry() != nil {
					a.reports++
				}
			})
			continue
		}
		if slow != nil {
			slow()
		}
		ack, mute, err := a.store(id, req.GetFrame())
		if err != nil {
			return status.Error(codes.InvalidArgument, err.Error())
		}
		if mute {
			continue
		}
		if err := stream.Send(&capturev1.ExportResponse{Kind: &capturev1.ExportResponse_Stored{Stored: ack}}); err != nil {
			return err
		}
	}
}

func (a *fakeAnalyzer) store(id string, f *capturev1.Frame) (*capturev1.ExportResponse_Ack, bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.shelf(id)
	if a.refuse != nil && a.refuse(f) {
		if a.named {
			return nil, false, fmt.Errorf("frame at offset %d: cannot take this", f.GetOffset())
		}
		return nil, false, errors.New("cannot take this")
	}
	if f.GetNextOffset() <= f.GetOffset() {
		return nil, false, fmt.Errorf("offset %d, next %d", f.GetOffset(), f.GetNextOffset())
	}
	if _, is := s.frames[f.GetOffset()]; is {
		a.again++
	} else {
		if err := a.take(id, f); err != nil {
			return nil, false, err
		}
		s.frames[f.GetOffset()] = kept{f.GetNextOffset(), checksum(f)}
		s.order = append(s.order, f.GetOffset())
		if a.stored != nil {
			a.stored(id, f.GetOffset())
		}
	}
	h := s.have(a.version)
	return &capturev1.ExportResponse_Ack{NextOffset: h.GetNextOffset(), Ranges: h.GetRanges()}, a.mute, nil
}

func (a *fakeAnalyzer) take(id string, f *capturev1.Frame) error {
	if f.GetMissing() != "" {
		a.missing = append(a.missing, f.GetMissing())
		return nil
	}
	h, err := frame.Head(f.GetHead())
	if err != nil {
		return err
	}
	pairs, err := frame.Pairs(h, f.GetBody())
	if err != nil {
		return err
	}
	key := fmt.Sprintf("%x/%d", h.GetSource().GetEpoch(), h.GetBatchSeq())
	if other := a.batches[key]; other != "" {
		a.again2++
		return nil
	}
	a.batches[key] = id
	for reason, n := range h.GetDropped() {
		a.lost[reason] += int(n)
	}
	for _, p := range pairs {
		a.pairs[string(p.GetId())]++
	}
	return nil
}

// holds says whether the analyzer has exactly the pairs of batches 1 to n of
// the epoch but those of except, each once.
func (a *fakeAnalyzer) holds(c *captured, except ...uint64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, n := range a.pairs {
		if n != 1 {
			a.t.Fatalf("pair %x is stored %d times", id, n)
		}
	}
	for seq := uint64(1); seq <= c.seq; seq++ {
		for i := range uint64(each) {
			have, want := a.pairs[c.id(seq, i)] == 1, !slices.Contains(except, seq)
			switch {
			case have && !want:
				a.t.Fatalf("batch %d is stored", seq)
			case want && !have:
				return fmt.Errorf("batch %d of %d is not stored; %d pairs are", seq, c.seq, len(a.pairs))
			}
		}
	}
	return nil
}

// closed says whether what the analyzer has of a spool is one range from 0 on,
// up to the end of what was written.
func (a *fakeAnalyzer) closed(s *spool.Spool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := s.ID()
	h := a.shelf(string(id[:])).have(1)
	if len(h.GetRanges()) > 0 || h.GetNextOffset() < s.Cursor(analyzer.Name).Offset() || h.GetNextOffset() == 0 {
		return fmt.Errorf("it has %d ranges above %d, the cursor is at %d", len(h.GetRanges()), h.GetNextOffset(), s.Cursor(analyzer.Name).Offset())
	}
	return nil
}

// each is how many pairs a batch has.
const each = 3

// captured makes batches of one epoch into a spool.
type captured struct {
	epoch byte
	seq   uint64
	// body is the length of each pair's body; they do not compress.
	body int
}

func (c *captured) id(seq, i uint64) string {
	return string(binary.BigEndian.AppendUint64(bytes.Repeat([]byte{c.epoch}, 8), seq*each+i))
}

// record is the next batch.
func (c *captured) record(t *testing.T) seglog.Record {
	t.Helper()
	c.seq++
	h := &capturev1.FrameHead{
		Source:   &capturev1.Source{App: "shop", ProxyId: "pod", Epoch: bytes.Repeat([]byte{c.epoch}, 16)},
		BatchSeq: c.seq, FirstPairSeq: 1 + (c.seq-1)*each, Received: each,
		Counters: &capturev1.Counters{Seen: c.seq * each, Dropped: map[string]uint64{"memory": 1, "fault": 2, "ring": 3}},
	}
	var pairs []*capturev1.RRPair
	for i := range uint64(each) {
		body := make([]byte, c.body)
		seed := [32]byte{c.epoch, byte(i)}
		binary.LittleEndian.PutUint64(seed[8:], c.seq)
		_, _ = rand.NewChaCha8(seed).Read(body) // does not compress
		pairs = append(pairs, &capturev1.RRPair{
			Id: []byte(c.id(c.seq, i)), ProxySeq: h.FirstPairSeq + i, Protocol: "http", Method: "GET", Path: fmt.Sprintf("/x/%d", i), Status: 200,
			Tags: map[string]string{"a": "1", "b": "2", "c": "3"}, Request: &capturev1.Message{Body: body},
		})
	}
	head, body, err := frame.Make(h, pairs)
	if err != nil {
		t.Fatal(err)
	}
	return seglog.Record{Head: head, Body: body}
}

// add appends n batches.
func (c *captured) add(t *testing.T, s *spool.Spool, n int) {
	t.Helper()
	for range n {
		if _, err := s.Append(c.record(t)); err != nil {
			t.Fatal(err)
		}
	}
}

func spoolOptions(names ...string) spool.Options {
	if len(names) == 0 {
		names = []string{analyzer.Name}
	}
	return spool.Options{MaxBytes: 1 << 30, SegmentBytes: 64 << 10, WhenFull: spool.DropOldest, Cursors: names}
}

func openSpool(t *testing.T, dir string, opt spool.Options) *spool.Spool {
	t.Helper()
	s, err := spool.Open(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func spoolDir(t *testing.T) string { return filepath.Join(t.TempDir(), "spool") }

// logBuffer is what was logged.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// running is an exporter.
type running struct {
	*analyzer.Exporter
	log   *logBuffer
	drain func() // lets it end when all is taken, and waits
	stop  func()
}

// run starts an exporter of s to addr.
func run(t *testing.T, s *spool.Spool, addr string, change ...func(*analyzer.Settings)) *running {
	t.Helper()
	r := &running{log: new(logBuffer)}
	log := slog.New(slog.NewTextHandler(r.log, nil))
	repeated := lograte.New(log, time.Second)
	set := analyzer.Settings{
		Addr: addr, ForwarderID: "f", Cluster: "prod", Version: "v1", Spool: s,
		Status: func() *capturev1.ForwarderStatus { return &capturev1.ForwarderStatus{ForwarderId: "f"} },
		Rand:   func() float64 { return 0.5 }, Log: log, Repeated: repeated,
	}
	for _, c := range change {
		c(&set)
	}
	r.Exporter = analyzer.New(set)
	ctx, cancel := context.WithCancel(context.Background())
	drain := make(chan struct{})
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, drain) }()
	var once sync.Once
	wait := func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
		cancel()
		repeated.Close()
	}
	r.drain = func() { once.Do(func() { close(drain); wait() }) }
	r.stop = func() { once.Do(func() { cancel(); wait() }) }
	t.Cleanup(r.stop)
	return r
}
