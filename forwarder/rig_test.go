package forwarder_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/forwarder"
	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/spool"
)

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
		time.Sleep(5 * time.Millisecond)
	}
}

// logBuffer is what a program logged.
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

// fakeAnalyzer keeps frames as the analyzer does: everything below next is
// durable, what it has already it skips.
type fakeAnalyzer struct {
	capturev1.UnimplementedIngestServiceServer
	t    *testing.T
	addr string

	mu      sync.Mutex
	server  *grpc.Server
	served  chan error
	next    map[string]uint64 // by spool
	batches map[string]int    // how often each was stored, by "epoch/seq"
	spools  map[string]string // the spool that each came by
	pairs   map[string]int    // by id
	last    *capturev1.RRPair // of all that came
	// declared is the pairs that frames say were dropped, by batch.
	declared map[string]uint64
	status   *capturev1.ForwarderStatus
	// telemetry is every report that a status brought.
	telemetry []*capturev1.Telemetry
	hellos    int
	skipped   int
	mute      bool // stores and does not acknowledge
}

func newAnalyzer(t *testing.T) *fakeAnalyzer {
	t.Helper()
	a := &fakeAnalyzer{t: t, next: map[string]uint64{}, batches: map[string]int{}, spools: map[string]string{}, pairs: map[string]int{}, declared: map[string]uint64{}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a.addr = ln.Addr().String()
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
	s := grpc.NewServer(grpc.MaxRecvMsgSize(32 << 20))
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

func (a *fakeAnalyzer) Export(stream grpc.BidiStreamingServer[capturev1.ExportRequest, capturev1.ExportResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	hello := first.GetHello()
	id := string(hello.GetSpoolId())
	if len(id) != 16 || hello.GetForwarderId() == "" || hello.GetNextOffset() < hello.GetOldestOffset() {
		return status.Errorf(codes.InvalidArgument, "hello: %v", hello)
	}
	a.mu.Lock()
	a.hellos++
	next := a.next[id]
	a.mu.Unlock()
	have := &capturev1.ExportResponse{Kind: &capturev1.ExportResponse_Have_{Have: &capturev1.ExportResponse_Have{NextOffset: next, AnalyzerId: "fake"}}}
	if err := stream.Send(have); err != nil {
		return err
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
			a.mu.Lock()
			a.status = st
			if st.GetTelemetry() != nil {
				a.telemetry = append(a.telemetry, st.GetTelemetry())
			}
			a.mu.Unlock()
			continue
		}
		through, mute, err := a.store(id, req.GetFrame())
		if err != nil {
			return status.Error(codes.InvalidArgument, err.Error())
		}
		if mute {
			continue
		}
		ack := &capturev1.ExportResponse{Kind: &capturev1.ExportResponse_Stored{Stored: &capturev1.ExportResponse_Ack{NextOffset: through}}}
		if err := stream.Send(ack); err != nil {
			return err
		}
	}
}

func (a *fakeAnalyzer) store(id string, f *capturev1.Frame) (uint64, bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if f.GetOffset() < a.next[id] {
		a.skipped++
		return a.next[id], a.mute, nil
	}
	h, err := frame.Head(f.GetHead())
	if err != nil {
		return 0, false, err
	}
	pairs, err := frame.Pairs(h, f.GetBody())
	if err != nil {
		return 0, false, err
	}
	a.next[id] = f.GetNextOffset()
	for _, run := range h.GetLost() {
		for i, n := range run.GetPairs() {
			if b := fmt.Sprintf("%x/%d", h.GetSource().GetEpoch(), run.GetFirstBatch()+uint64(i)); a.batches[b] == 0 {
				a.declared[b] = uint64(n)
			}
		}
	}
	if len(h.GetLost()) > 0 {
		return f.GetNextOffset(), a.mute, nil
	}
	batch := fmt.Sprintf("%x/%d", h.GetSource().GetEpoch(), h.GetBatchSeq())
	if spool, known := a.spools[batch]; known && spool != id { // another spool brought it
		return f.GetNextOffset(), a.mute, nil
	}
	a.spools[batch] = id
	a.batches[batch]++
	delete(a.declared, batch)
	for _, n := range h.GetDropped() {
		a.declared[batch] += uint64(n)
	}
	for _, p := range pairs {
		a.pairs[string(p.GetId())]++
		a.last = p
	}
	return f.GetNextOffset(), a.mute, nil
}

// stored holds what is stored to what was sent: every batch, once.
func (a *fakeAnalyzer) stored(want map[string]bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for b, n := range a.batches {
		if n != 1 || !want[b] {
			a.t.Fatalf("batch %s is stored %d times, sent: %v", b, n, want[b])
		}
	}
	for p, n := range a.pairs {
		if n != 1 {
			a.t.Fatalf("pair %x is stored %d times", p, n)
		}
	}
	if len(a.batches) != len(want) {
		return fmt.Errorf("%d batches of %d are stored", len(a.batches), len(want))
	}
	return nil
}

// notDelivered is what the first destination is said not to have got.
func notDelivered(st *capturev1.ForwarderStatus) map[string]uint64 {
	for _, d := range st.GetDestinations() {
		return d.GetDropped()
	}
	return nil
}

// sums counts pairs: those that are stored and those that frames declare.
func (a *fakeAnalyzer) sums() (stored, declared uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, n := range a.declared {
		declared += n
	}
	return uint64(len(a.pairs)), declared
}

func (a *fakeAnalyzer) lastStatus() *capturev1.ForwarderStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.status
}

// config is a forwarder's that reports to addr.
func config(t *testing.T, addr string) forwarder.Config {
	t.Helper()
	return forwarder.Config{
		ListenHost: "127.0.0.1", Cluster: "prod", FilterRule: "standard", Analyzer: addr,
		SpoolDir: filepath.Join(t.TempDir(), "spool"), SpoolBytes: 64 << 20, WhenFull: spool.DropOldest,
	}
}

// running is a forwarder in this process.
type running struct {
	f    *forwarder.Forwarder
	log  *logBuffer
	stop func()
}

func run(t *testing.T, cfg forwarder.Config) *running {
	t.Helper()
	r := &running{log: new(logBuffer)}
	var err error
	if r.f, err = forwarder.New(cfg, slog.New(daemon.NewHandler(r.log, daemon.Sorted, slog.LevelInfo))); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.f.Run(ctx) }()
	var once sync.Once
	r.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(r.stop)
	return r
}

func (r *running) addr() string { return r.f.Addr().String() }

// proxy sends batches as goproxy does: kept until acknowledged, sent again on
// a new connection.
type proxy struct {
	epoch []byte
	id    string

	mu    sync.Mutex
	kept  []*capturev1.Batch
	made  uint64
	acked uint64
	wake  chan struct{}
}

func newProxy(epoch byte) *proxy {
	return &proxy{epoch: bytes.Repeat([]byte{epoch}, 16), id: "pod-" + strconv.Itoa(int(epoch)), wake: make(chan struct{}, 1)}
}

func (p *proxy) source() *capturev1.Source {
	return &capturev1.Source{App: "shop", Pod: p.id, ProxyId: p.id, Epoch: p.epoch}
}

// make cuts n batches of pairs.
func (p *proxy) make(n int) { p.makeOf(n, func(*capturev1.RRPair) {}) }

// makeOf is make of pairs that edit has had before anybody may send them.
func (p *proxy) makeOf(n int, edit func(*capturev1.RRPair)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	const each = 3
	for range n {
		p.made++
		b := &capturev1.Batch{Source: p.source(), Seq: p.made, FirstPairSeq: 1 + (p.made-1)*each}
		for i := range uint64(each) {
			seq := b.FirstPairSeq + i
			b.Pairs = append(b.Pairs, &capturev1.RRPair{
				Id: binary.BigEndian.AppendUint64(bytes.Clone(p.epoch[:8]), seq), ProxySeq: seq, Protocol: "http", Path: "/x",
				Request: &capturev1.Message{Body: bytes.Repeat([]byte{byte(seq)}, 500)},
			})
		}
		for _, pair := range b.GetPairs() {
			edit(pair)
		}
		p.kept = append(p.kept, b)
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *proxy) sent(into map[string]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for seq := uint64(1); seq <= p.made; seq++ {
		into[fmt.Sprintf("%x/%d", p.epoch, seq)] = true
	}
}

func (p *proxy) waiting() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.kept) > 0 {
		return fmt.Errorf("%d batches are not acknowledged", len(p.kept))
	}
	return nil
}

func (p *proxy) forget(through uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.kept) > 0 && p.kept[0].GetSeq() <= through {
		p.kept = p.kept[1:]
	}
	p.acked = max(p.acked, through)
}

func (p *proxy) after(seq uint64) *capturev1.Batch {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.kept {
		if b.GetSeq() > seq {
			return b
		}
	}
	return nil
}

// run ships to addr until ctx ends, through lost connections.
func (p *proxy) run(ctx context.Context, addr string) {
	for ctx.Err() == nil {
		_ = p.session(ctx, addr)
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (p *proxy) session(ctx context.Context, addr string) error {
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = cc.Close() }()
	client := capturev1.NewProxyServiceClient(cc)
	resp, err := client.Register(ctx, &capturev1.RegisterRequest{Source: p.source(), Version: "v1", Now: time.Now().UnixNano()})
	if err != nil {
		return err
	}
	for _, r := range resp.GetAckedBatches() {
		if r.GetFirst() == 1 {
			p.forget(r.GetLast())
		}
	}
	stream, err := client.Push(ctx)
	if err != nil {
		return err
	}
	over := make(chan error, 1)
	go func() {
		for {
			m, err := stream.Recv()
			if err != nil {
				over <- err
				return
			}
			p.forget(m.GetAck().GetThrough())
		}
	}()
	beat := func(goodbye bool) error {
		return stream.Send(&capturev1.PushRequest{Kind: &capturev1.PushRequest_Heartbeat{Heartbeat: &capturev1.Heartbeat{Source: p.source(), Goodbye: goodbye}}})
	}
	if err := beat(false); err != nil {
		return <-over
	}
	last := uint64(0)
	for {
		if b := p.after(last); b != nil {
			last = b.GetSeq()
			if err := stream.Send(&capturev1.PushRequest{Kind: &capturev1.PushRequest_Batch{Batch: b}}); err != nil {
				return <-over
			}
			continue
		}
		select {
		case <-p.wake:
		case err := <-over:
			return err
		case <-ctx.Done():
			return <-over
		}
	}
}

// start runs a proxy until the test ends, or the returned function is called.
func (p *proxy) start(t *testing.T, addr string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.run(ctx, addr)
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return stop
}

func all(proxies ...*proxy) map[string]bool {
	want := map[string]bool{}
	for _, p := range proxies {
		p.sent(want)
	}
	return maps.Clone(want)
}

// program is a forwarder in a process of its own, which can be killed.
type program struct {
	t     *testing.T
	addr  string
	env   []string
	log   *logBuffer
	cmd   *exec.Cmd
	ended chan error // gets what the process ended with
	from  int        // where the process's own lines begin in log
}

// newProgram makes one that reports to an analyzer, on a port that was free.
// It does not start it.
func newProgram(t *testing.T, analyzer string) *program {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, addr: ln.Addr().String(), log: new(logBuffer)}
	_ = ln.Close()
	_, port, err := net.SplitHostPort(p.addr)
	if err != nil {
		t.Fatal(err)
	}
	p.env = []string{
		asProgram + "=1", "SERVICE_PORT=" + port, "CLUSTER_NAME=prod", "ANALYZER_ADDR=" + analyzer,
		"SPOOL_DIR=" + filepath.Join(t.TempDir(), "spool"), "SPOOL_MAX_BYTES=32MiB",
	}
	t.Cleanup(p.kill)
	return p
}

// start begins a process, with more variables.
func (p *program) start(env ...string) {
	p.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^$")
	cmd.Env = append(slices.Clone(p.env), env...)
	cmd.Stderr = p.log
	p.from = len(p.log.String())
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.cmd, p.ended = cmd, make(chan error, 1)
	go func(ended chan<- error) { ended <- cmd.Wait() }(p.ended)
}

// kill ends the process as by kill -9, when there is one.
func (p *program) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.ended
	p.cmd = nil
}

// terminate asks the process to end, once it has begun to serve, and holds it
// to doing so in order.
func (p *program) terminate() {
	p.t.Helper()
	poll(p.t, "the listener", func() error {
		if !strings.Contains(p.log.String()[p.from:], "Starting gRPC listener") {
			return errors.New("it does not serve yet")
		}
		return nil
	})
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	if err := <-p.ended; err != nil {
		p.t.Errorf("after SIGTERM: %v\n%s", err, p.log)
	}
	p.cmd = nil
}
