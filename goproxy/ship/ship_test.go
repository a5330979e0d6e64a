package ship

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/goproxy/ship/shiptest"
	"github.com/weir-capture/weir/internal/budget"
	"github.com/weir-capture/weir/internal/grpcpeer"
	"github.com/weir-capture/weir/internal/ledger"
	"github.com/weir-capture/weir/internal/lograte"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// yard ships in fake time, over connections in memory.
type yard struct {
	*Shipper
	t      *testing.T
	budget *budget.Budget
	ledger ledger.Ledger
	log    *lockedBuffer
	// dial is what the shipper reaches; nil: nobody is there.
	mu   sync.Mutex
	dial func(context.Context) (net.Conn, error)

	end  func() // ends Run, and waits
	done chan struct{}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var errRefused = errors.New("dial tcp 10.0.0.9:8888: connect: connection refused")

func newYard(t *testing.T, memory int64, edit ...func(*Settings)) *yard {
	y := &yard{t: t, budget: budget.New(memory), log: new(lockedBuffer), done: make(chan struct{})}
	lines := slog.New(slog.NewTextHandler(y.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	repeated := lograte.New(lines, time.Second)
	set := Settings{
		Addr: "10.0.0.9:8888",
		Register: &capturev1.RegisterRequest{
			Source:       &capturev1.Source{App: "shop", Pod: "shop-1", ProxyId: "shop-1", Epoch: []byte("0123456789abcdef")},
			EpochStarted: 7, Version: "v1", ListenAddr: ":4143", UpstreamAddr: "localhost:80",
		},
		Budget: y.budget, Ledger: &y.ledger, State: func() *capturev1.ProxyState { return &capturev1.ProxyState{OpenConns: 3} },
		Now: func() int64 { return time.Now().UnixNano() }, Rand: rand.New(rand.NewPCG(1, 2)).Float64,
		Log: lines, Repeated: repeated,
		Dial: func(ctx context.Context, _ string) (net.Conn, error) {
			y.mu.Lock()
			dial := y.dial
			y.mu.Unlock()
			if dial == nil {
				return nil, errRefused
			}
			return dial(ctx)
		},
	}
	for _, f := range edit {
		f(&set)
	}
	y.Shipper = New(set)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(y.done)
		if err := y.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	y.end = sync.OnceFunc(func() {
		cancel()
		<-y.done
		repeated.Close()
	})
	t.Cleanup(func() {
		y.end()
		if t.Failed() {
			t.Logf("log:\n%s", y.log)
		}
	})
	return y
}

// reach puts a forwarder at the address; the returned function takes it away.
func (y *yard) reach(f *shiptest.Forwarder) (leave func()) {
	ln := bufconn.Listen(256 << 10)
	stop := f.Serve(ln)
	y.set(ln.DialContext)
	leave = sync.OnceFunc(func() { y.set(nil); stop() })
	y.t.Cleanup(func() { y.end(); leave() })
	return leave
}

func (y *yard) set(dial func(context.Context) (net.Conn, error)) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.dial = dial
}

// add ships n pairs of a size, as pair would; it says how many there was room
// for.
func (y *yard) add(n, size int) (added int) {
	for range n {
		y.ledger.Seen()
		held := int64(size + 1000)
		if !y.budget.Take(budget.Pair, held) {
			y.ledger.Dropped(ledger.Memory)
			continue
		}
		y.Add(&capturev1.RRPair{Id: make([]byte, 16), Request: &capturev1.Message{Body: make([]byte, size)}}, [2][][]byte{}, held)
		added++
	}
	return added
}

// law checks that every pair is in exactly one count.
func (y *yard) law() {
	y.t.Helper()
	p := y.ledger.Pairs()
	sum := p.Batched + p.Waiting + p.Sampled + p.Open
	for _, n := range p.Dropped {
		sum += n
	}
	if p.Seen != sum || p.Open != 0 {
		y.t.Errorf("%+v adds up to %d", p, sum)
	}
}

// exact checks that a forwarder has pairs 1 to n, each once, in batches that
// follow one another, and that nothing is held any more.
func (y *yard) exact(n int, forwarders ...*shiptest.Forwarder) {
	y.t.Helper()
	pairs := make(map[uint64]int)
	seqs := make(map[uint64]uint64)
	for _, f := range forwarders {
		for _, b := range f.Batches() {
			if first, again := seqs[b.Seq]; again && first != b.FirstPairSeq {
				y.t.Errorf("batch %d changed", b.Seq)
			} else if again {
				continue
			}
			seqs[b.Seq] = b.FirstPairSeq
			for i, p := range b.Pairs {
				pairs[p.ProxySeq]++
				if p.ProxySeq != b.FirstPairSeq+uint64(i) {
					y.t.Errorf("pair %d of batch %d has sequence %d", i, b.Seq, p.ProxySeq)
				}
			}
		}
	}
	for i := range uint64(n) {
		if pairs[i+1] != 1 {
			y.t.Errorf("pair %d arrived %d times", i+1, pairs[i+1])
		}
	}
	if len(pairs) != n {
		y.t.Errorf("%d pairs arrived, want %d", len(pairs), n)
	}
	for s := range uint64(len(seqs)) {
		if _, ok := seqs[s+1]; !ok {
			y.t.Errorf("batch %d is missing", s+1)
		}
	}
	if acked := y.ledger.Acked.Load(); acked != uint64(n) {
		y.t.Errorf("acknowledged: %d", acked)
	}
	if used := y.budget.Used(); used != 0 {
		y.t.Errorf("%d bytes are held", used)
	}
	y.law()
}

func TestBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 64<<20)
		f := &shiptest.Forwarder{ID: "a"}
		y.reach(f)
		time.Sleep(time.Second)
		sizes := func() (s []int) {
			for _, b := range f.Batches() {
				s = append(s, len(b.Pairs))
			}
			return s
		}
		y.add(3, 100) // cut by age
		time.Sleep(maxAge - time.Millisecond)
		synctest.Wait()
		if got := sizes(); len(got) != 0 {
			t.Errorf("%v before a batch's time", got)
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		y.add(130, 100) // cut by number, twice; the rest by age
		time.Sleep(time.Second)
		y.add(5, 60<<10) // cut by size at the fifth
		y.add(1, 10)     //
		y.add(1, 70<<10) // alone, and what was open before it
		time.Sleep(time.Second)
		if got, want := fmt.Sprint(sizes()), "[3 64 64 2 5 1 1]"; got != want {
			t.Errorf("batches of %s pairs, want %s", got, want)
		}
		y.exact(3+130+5+1+1, f)
		b := f.Batches()[1]
		if b.EpochStarted != 7 || b.Source.GetApp() != "shop" || b.MaybeDuplicate || b.Counters.GetBatched() < 67 {
			t.Errorf("%v %v, maybe a duplicate: %v, %v", b.Source, b.EpochStarted, b.MaybeDuplicate, b.Counters)
		}
	})
}

func TestHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 64<<20)
		f := &shiptest.Forwarder{ID: "a"}
		y.reach(f)
		time.Sleep(10500 * time.Millisecond)
		hs := f.Heartbeats()
		if len(hs) < 10 || len(hs) > 12 {
			t.Errorf("%d heartbeats in 10 s", len(hs))
		}
		for _, h := range hs {
			if h.Now == 0 || h.State.GetOpenConns() != 3 || h.Source.GetProxyId() != "shop-1" || h.Counters == nil || h.Goodbye {
				t.Errorf("%v", h)
			}
		}
		if r := f.Registered(); len(r) != 1 || r[0].Now == 0 || r[0].Version != "v1" || r[0].EpochStarted != 7 {
			t.Errorf("%v", r)
		}
	})
}

// TestStartOrder: what is captured while no forwarder is there arrives when
// one comes.
func TestStartOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 64<<20)
		y.add(200, 100)
		time.Sleep(time.Hour)
		f := &shiptest.Forwarder{ID: "a"}
		y.reach(f)
		time.Sleep(6 * time.Second) // the longest wait between attempts is 5 s
		y.exact(200, f)
		if n := strings.Count(y.log.String(), "Not connected to forwarder"); n < 600 || n > 1800 {
			t.Errorf("%d complaints in an hour, want about one per attempt", n)
		}
	})
}

// TestLostAcknowledgements: what was not acknowledged is sent again, the same,
// in order, and not called a duplicate while the forwarder is the same.
func TestLostAcknowledgements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 64<<20)
		f := &shiptest.Forwarder{ID: "a"}
		f.OnBatch = func(*capturev1.Batch) (bool, error) { return false, nil }
		leave := y.reach(f)
		time.Sleep(time.Second)
		for range 10 {
			y.add(7, 100)
			time.Sleep(100 * time.Millisecond)
		}
		if len(f.Batches()) != 10 || y.Parcels() != 10 {
			t.Fatalf("%d batches, %d kept", len(f.Batches()), y.Parcels())
		}
		leave()
		again := &shiptest.Forwarder{ID: "a", Acked: []*capturev1.Range{{First: 1, Last: 3}, {First: 5, Last: 5}}}
		y.reach(again)
		time.Sleep(10 * time.Second)
		var seqs []uint64
		for _, b := range again.Batches() {
			seqs = append(seqs, b.Seq)
			if b.MaybeDuplicate {
				t.Errorf("batch %d is called a duplicate", b.Seq)
			}
		}
		if fmt.Sprint(seqs) != "[4 6 7 8 9 10]" {
			t.Errorf("sent again: %v", seqs)
		}
		y.exact(70, f, again)
	})
}

func TestAnotherForwarderIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 64<<20)
		a := &shiptest.Forwarder{ID: "a"}
		a.OnBatch = func(*capturev1.Batch) (bool, error) { return false, nil }
		leave := y.reach(a)
		time.Sleep(time.Second)
		y.add(64, 1)
		time.Sleep(time.Second)
		leave()
		time.Sleep(50 * time.Millisecond) // it knows that nobody is there
		y.add(64, 1)
		b := &shiptest.Forwarder{ID: "b"}
		y.reach(b)
		time.Sleep(10 * time.Second)
		got := b.Batches()
		if len(got) != 2 || !got[0].MaybeDuplicate || got[1].MaybeDuplicate {
			for _, b := range got {
				t.Errorf("batch %d, maybe a duplicate: %v", b.Seq, b.MaybeDuplicate)
			}
		}
		y.exact(128, a, b)
	})
}

// oneAck is a stream that acknowledges once, and ends.
type oneAck struct {
	grpc.BidiStreamingClient[capturev1.PushRequest, capturev1.PushResponse]
	through uint64
	said    bool
}

func (o *oneAck) Recv() (*capturev1.PushResponse, error) {
	if o.said {
		return nil, io.EOF
	}
	o.said = true
	return &capturev1.PushResponse{Kind: &capturev1.PushResponse_Ack{Ack: &capturev1.Ack{Through: o.through}}}, nil
}

// TestAnAckForWhatWasNotSent is not believed.
func TestAnAckForWhatWasNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 64<<20)
		y.add(3*maxPairs, 1)
		c := &conversation{peer: new(grpcpeer.Peer), s: y.Shipper, sent: y.next(0, "a").seq, stream: &oneAck{through: 99}}
		if err := c.listen(); !errors.Is(err, io.EOF) && err == nil {
			t.Error("the stream ended")
		}
		if y.Parcels() != 2 {
			t.Errorf("%d batches are kept, want the 2 that nobody can have", y.Parcels())
		}
	})
}

// TestBrokenStreams ends the stream again and again while pairs come: nothing
// is lost, and nothing is sent that had been acknowledged before.
func TestBrokenStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 64<<20)
		f := &shiptest.Forwarder{ID: "a"}
		n := 0
		f.OnBatch = func(*capturev1.Batch) (bool, error) {
			n++
			if n%5 == 0 {
				return false, status.Error(codes.Unavailable, "no")
			}
			return true, nil
		}
		y.reach(f)
		for range 100 {
			y.add(13, 1000)
			time.Sleep(70 * time.Millisecond)
			f.Break()
			time.Sleep(300 * time.Millisecond)
		}
		time.Sleep(2 * time.Minute)
		y.exact(1300, f)
	})
}

// TestMemory: while nobody acknowledges, the limit holds, what there is no
// room for is counted, and everything else arrives in the end.
func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 1<<20)
		stuck := &shiptest.Forwarder{ID: "a"}
		stuck.OnBatch = func(*capturev1.Batch) (bool, error) { return false, nil }
		leave := y.reach(stuck)
		time.Sleep(time.Second)
		added := 0
		for range 100 {
			added += y.add(50, 1000)
			time.Sleep(100 * time.Millisecond)
			if y.budget.Used() > y.budget.Limit() {
				t.Fatalf("used %d", y.budget.Used())
			}
			y.law()
		}
		if added == 5000 || added < 300 {
			t.Fatalf("there was room for %d of 5000", added)
		}
		leave()
		f := &shiptest.Forwarder{ID: "a"}
		y.reach(f)
		time.Sleep(10 * time.Second)
		y.exact(added, stuck, f)
		if c := y.counters(); c.Seen != 5000 || c.Dropped["memory"] != uint64(5000-added) {
			t.Errorf("%v", c)
		}
	})
}

// TestAStalledForwarderIsFound: one whose process stands still, with its
// connections open.
func TestAStalledForwarderIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 64<<20)
		f := &shiptest.Forwarder{ID: "a"}
		ln := bufconn.Listen(256 << 10)
		stop := f.Serve(ln)
		var mu sync.Mutex
		var conns []*stalling
		y.set(func(ctx context.Context) (net.Conn, error) {
			c, err := ln.DialContext(ctx)
			if err != nil {
				return nil, err
			}
			s := &stalling{Conn: c, stalled: make(chan struct{}), gone: make(chan struct{})}
			mu.Lock()
			conns = append(conns, s)
			mu.Unlock()
			return s, nil
		})
		t.Cleanup(func() { y.end(); stop() })
		time.Sleep(time.Second)
		mu.Lock()
		close(conns[0].stalled)
		mu.Unlock()
		began := time.Now()
		for {
			y.add(1, 10)
			time.Sleep(100 * time.Millisecond)
			mu.Lock()
			n := len(conns)
			mu.Unlock()
			if n > 1 {
				break
			}
			if time.Since(began) > 25*time.Second {
				t.Fatal("a forwarder that stands still is not found")
			}
		}
		if d := time.Since(began); d > 20*time.Second {
			t.Errorf("found after %v", d)
		}
		time.Sleep(5 * time.Second)
		y.exact(int(y.counters().Batched), f)
	})
}

// stalling is a connection that can stand still.
type stalling struct {
	net.Conn
	stalled, gone chan struct{}
	once          sync.Once
}

func (s *stalling) Read(b []byte) (int, error) {
	type result struct {
		n   int
		err error
	}
	ch := make(chan result, 1)
	go func() { n, err := s.Conn.Read(b); ch <- result{n, err} }()
	select {
	case r := <-ch:
		return r.n, r.err
	case <-s.stalled:
		<-s.gone
		return 0, net.ErrClosed
	}
}

func (s *stalling) Write(b []byte) (int, error) {
	select {
	case <-s.stalled:
		return len(b), nil // the kernel would take it
	default:
		return s.Conn.Write(b)
	}
}

func (s *stalling) Close() error {
	s.once.Do(func() { close(s.gone) })
	return s.Conn.Close()
}

func TestTheEnd(t *testing.T) {
	t.Run("waits for acknowledgements and says goodbye", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			y := newYard(t, 64<<20)
			f := &shiptest.Forwarder{ID: "a"}
			f.OnBatch = func(*capturev1.Batch) (bool, error) { time.Sleep(time.Second); return true, nil }
			y.reach(f)
			time.Sleep(time.Second)
			y.add(65, 10)
			began := time.Now()
			y.end()
			if d := time.Since(began); d > 3*time.Second {
				t.Errorf("took %v", d)
			}
			y.exact(65, f)
			hs := f.Heartbeats()
			if last := hs[len(hs)-1]; !last.Goodbye || last.Counters.Acked != 65 {
				t.Errorf("the last heartbeat: %v", last)
			}
		})
	})
	t.Run("does not wait for ever", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			y := newYard(t, 64<<20)
			f := &shiptest.Forwarder{ID: "a"}
			f.OnBatch = func(*capturev1.Batch) (bool, error) { return false, nil }
			y.reach(f)
			time.Sleep(time.Second)
			y.add(5, 10)
			began := time.Now()
			y.end()
			if d := time.Since(began); d < drainTime || d > drainTime+goodbyeTime+time.Second {
				t.Errorf("took %v", d)
			}
			hs := f.Heartbeats()
			if last := hs[len(hs)-1]; !last.Goodbye || last.Counters.Batched != 5 || last.Counters.Acked != 0 {
				t.Errorf("the last heartbeat: %v", last)
			}
			if !strings.Contains(y.log.String(), `msg="Stopped before the forwarder had everything" pairs=5`) {
				t.Error("nobody says what was left behind")
			}
		})
	})
	t.Run("with no forwarder and nothing to ship", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			y := newYard(t, 64<<20)
			time.Sleep(time.Minute)
			began := time.Now()
			y.end()
			if d := time.Since(began); d > 5*time.Second {
				t.Errorf("took %v", d)
			}
		})
	})
}

func TestARefusedRegistration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 64<<20)
		y.reach(&shiptest.Forwarder{Refuse: status.Error(codes.FailedPrecondition, "this forwarder wants v9")})
		time.Sleep(10 * time.Second)
		if log := y.log.String(); !strings.Contains(log, `it refused the registration: this forwarder wants v9`) {
			t.Error(log)
		}
	})
}

// TestLogLines: what the guide shows, in its order.
func TestLogLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 64<<20)
		y.reach(&shiptest.Forwarder{ID: "a"})
		time.Sleep(time.Second)
		var got []string
		for line := range strings.Lines(y.log.String()) {
			_, line, _ = strings.Cut(line, " ")
			got = append(got, strings.TrimSpace(line))
		}
		want := []string{
			`level=INFO msg="Successfully connected to forwarder" addr=10.0.0.9:8888`,
			`level=DEBUG msg="Attempting to register with forwarder"`,
			`level=INFO msg="Successfully registered with forwarder" proxyID=shop-1`,
		}
		// The first attempt may come before there is a forwarder.
		if len(got) < 3 || fmt.Sprint(got[len(got)-3:]) != fmt.Sprint(want) {
			t.Errorf("got\n%s", strings.Join(got, "\n"))
		}
	})
}

// TestAForwarderThatIsNone: one clear line says what stands there instead.
func TestAForwarderThatIsNone(t *testing.T) {
	raw := func(serve func(net.Conn)) func(*testing.T) string {
		return func(t *testing.T) string {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			wg.Go(func() {
				for {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					wg.Go(func() { defer c.Close(); serve(c) })
				}
			})
			t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
			return ln.Addr().String()
		}
	}
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") })
	for _, c := range []struct {
		name  string
		serve func(*testing.T) string
		want  string
	}{
		{"HTTP/1", func(t *testing.T) string {
			srv := httptest.NewServer(answer)
			t.Cleanup(srv.Close)
			return srv.Listener.Addr().String()
		}, "it speaks HTTP/1, not gRPC"},
		{"HTTP/2", func(t *testing.T) string {
			srv := httptest.NewUnstartedServer(answer)
			srv.Config.Protocols = new(http.Protocols)
			srv.Config.Protocols.SetUnencryptedHTTP2(true)
			srv.Start()
			t.Cleanup(srv.Close)
			return srv.Listener.Addr().String()
		}, "unexpected HTTP status code received from server: 200"},
		{"TLS", func(t *testing.T) string {
			srv := httptest.NewUnstartedServer(answer)
			srv.Config.ErrorLog = log.New(io.Discard, "", 0)
			srv.StartTLS()
			t.Cleanup(srv.Close)
			return srv.Listener.Addr().String()
		}, "it speaks TLS"},
		{"another gRPC service", func(t *testing.T) string {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			srv := grpc.NewServer()
			var wg sync.WaitGroup
			wg.Go(func() { _ = srv.Serve(ln) })
			t.Cleanup(func() { srv.Stop(); wg.Wait() })
			return ln.Addr().String()
		}, "no Weir forwarder"},
		{"SMTP", raw(func(c net.Conn) { fmt.Fprint(c, "220 mail\r\n"); _, _ = c.Read(make([]byte, 100)) }), `it said \"220 mail`},
		{"nothing", raw(func(net.Conn) {}), "no forwarder, or not ready"},
	} {
		t.Run(c.name, func(t *testing.T) {
			addr := c.serve(t)
			y := newYard(t, 64<<20)
			y.set(func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", addr) })
			for end := time.Now().Add(15 * time.Second); !strings.Contains(y.log.String(), c.want); time.Sleep(5 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("nothing says %q", c.want)
				}
			}
		})
	}
}
