package forwarder_test

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// TestR30CrowdComesBack: five hundred proxies lose their forwarder and come
// back to the next one in the same moment, without the jitter that they have.
// Each is registered within a second, nothing is lost, and what they cost stays
// bounded.
func TestR30CrowdComesBack(t *testing.T) {
	const crowd = 500
	a := newAnalyzer(t)
	a.start()
	cfg := config(t, a.addr)
	f := run(t, cfg)
	addr := f.addr()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Port, err = strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}

	type member struct {
		p  *proxy
		cc *grpc.ClientConn
	}
	members := make([]member, crowd)
	proxies := make([]*proxy, crowd)
	for i := range members {
		p := newProxy(0)
		p.epoch = append([]byte{byte(i), byte(i >> 8)}, p.epoch[2:]...)
		p.id = "pod-" + strconv.Itoa(i)
		members[i].p, proxies[i] = p, p
	}
	defer func() {
		for _, m := range members {
			_ = m.cc.Close()
		}
	}()
	// together does one thing for all members at once, and tells how long each
	// took.
	together := func(do func(ctx context.Context, m *member) error) []time.Duration {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		took, errs := make([]time.Duration, crowd), make(chan error, crowd)
		var ready, done sync.WaitGroup
		ready.Add(crowd)
		for i := range members {
			done.Go(func() {
				ready.Done()
				ready.Wait()
				began := time.Now()
				errs <- do(ctx, &members[i])
				took[i] = time.Since(began)
			})
		}
		done.Wait()
		for range crowd {
			if err := <-errs; err != nil {
				t.Fatal(err)
			}
		}
		slices.Sort(took)
		return took
	}
	to := addr
	register := func(ctx context.Context, m *member) (err error) {
		m.cc, err = grpc.NewClient("passthrough:///"+to, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithReadBufferSize(0), grpc.WithWriteBufferSize(0))
		if err != nil {
			return err
		}
		_, err = capturev1.NewProxyServiceClient(m.cc).Register(ctx, &capturev1.RegisterRequest{Source: m.p.source(), ApiVersion: capturev1.APIVersion})
		return err
	}
	ship := func(ctx context.Context, m *member) error {
		stream, err := capturev1.NewProxyServiceClient(m.cc).Push(t.Context())
		if err != nil {
			return err
		}
		for _, b := range m.p.kept {
			if err := stream.Send(&capturev1.PushRequest{Kind: &capturev1.PushRequest_Batch{Batch: b}}); err != nil {
				return err
			}
		}
		for m.p.acked < m.p.made {
			resp, err := stream.Recv()
			if err != nil {
				return fmt.Errorf("%s: %w", m.p.id, err)
			}
			m.p.acked = max(m.p.acked, resp.GetAck().GetThrough())
		}
		return nil
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}

	for _, m := range members {
		m.p.make(1)
	}
	alone := heap()
	together(register)
	together(ship)
	f.stop()
	for i := range members {
		_ = members[i].cc.Close()
		members[i].p.make(1) // and the first one again: its acknowledgement was lost
	}
	// What this machine takes for the same with a server that does nothing:
	// all sides share its cores with each other and with other tests.
	idle, stopIdle := idleServer(t)
	to = idle
	nothing := together(register)
	for _, m := range members {
		_ = m.cc.Close()
	}
	stopIdle()
	to = addr

	run(t, cfg)
	took := together(register)
	p99, noise := took[crowd*99/100], nothing[crowd*99/100]
	shipped := together(ship)
	cost := int64(heap()) - int64(alone)
	t.Logf("registering: median %v, p99 %v, slowest %v (p99 with a server that does nothing: %v); first acknowledgement: slowest %v; both sides of %d connections take %d KiB",
		took[crowd/2], p99, took[crowd-1], noise, shipped[crowd-1], crowd, cost>>10)
	if p99 > max(time.Second, 3*noise) {
		t.Errorf("p99 of registering is %v, want a second at most (a server that does nothing: %v)", p99, noise)
	}
	if cost > 128<<20 {
		t.Errorf("%d bytes for %d connections", cost, crowd)
	}
	poll(t, "everything", func() error { return a.stored(all(proxies...)) })
	poll(t, "a status that has all of them", func() error {
		n := 0
		for _, p := range a.lastStatus().GetProxies() {
			if p.GetState() == capturev1.ProxyStatus_STATE_CONNECTED {
				n++
			}
		}
		if n != crowd {
			return fmt.Errorf("%d are connected", n)
		}
		return nil
	})
}

// idleProxies answers Register and does nothing.
type idleProxies struct {
	capturev1.UnimplementedProxyServiceServer
}

func (idleProxies) Register(context.Context, *capturev1.RegisterRequest) (*capturev1.RegisterResponse, error) {
	return new(capturev1.RegisterResponse), nil
}

func idleServer(t *testing.T) (addr string, stop func()) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	capturev1.RegisterProxyServiceServer(s, idleProxies{})
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	return ln.Addr().String(), func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
