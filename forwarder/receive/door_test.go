package receive_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/forwarder/admit"
	"github.com/weir-capture/weir/forwarder/receive"
	"github.com/weir-capture/weir/forwarder/registry"
	"github.com/weir-capture/weir/internal/grpcdoor"
	"github.com/weir-capture/weir/spool"
)

// tokens are identities by their tokens.
type tokens struct {
	mu    sync.Mutex
	names map[string]string
}

func (k *tokens) set(token, names string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.names == nil {
		k.names = map[string]string{}
	}
	k.names[token] = names
}

func (k *tokens) identity(_ context.Context, token string) (grpcdoor.Identity, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.names[token] == "" {
		return grpcdoor.Identity{}, grpcdoor.ErrDenied
	}
	return grpcdoor.Identity{ID: token, Name: k.names[token]}, nil
}

// pod is a proxy with a token and a connection of its own.
type pod struct {
	r     *rig
	ctx   context.Context
	src   *capturev1.Source
	proxy capturev1.ProxyServiceClient
}

func (r *rig) pod(epoch byte, id, token string) *pod {
	r.t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+r.addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = cc.Close() })
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	r.t.Cleanup(cancel)
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	src := source(epoch)
	src.ProxyId = id
	return &pod{r, ctx, src, capturev1.NewProxyServiceClient(cc)}
}

func (p *pod) register() codes.Code {
	_, err := p.proxy.Register(p.ctx, &capturev1.RegisterRequest{Source: p.src, Version: "v1"})
	return status.Code(err)
}

func (p *pod) push() stream {
	p.r.t.Helper()
	s, err := p.proxy.Push(p.ctx)
	if err != nil {
		p.r.t.Fatal(err)
	}
	return stream{p.r.t, s}
}

// batch is one of this proxy's, its bodies of size bytes.
func (p *pod) batch(seq uint64, size int) *capturev1.Batch {
	b := batch(p.src.GetEpoch()[0], seq)
	b.Source = p.src
	for i := range b.GetPairs() {
		b.Pairs[i].Request.Body = noise(size, seq)
	}
	return b
}

// noise does not get smaller by being compressed.
func noise(n int, seed uint64) []byte {
	b, x := make([]byte, n), seed*0x9e3779b97f4a7c15+1
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return b
}

// TestS05Proxies: a proxy pushes as itself and as nobody else.
func TestS05Proxies(t *testing.T) {
	k := &tokens{}
	k.set("shop", "checkout-* cart-1")
	k.set("bank", "bank-1")
	r := start(t, options{door: receive.Door{Token: k.identity, May: admit.May, Recheck: 10 * time.Millisecond}})
	defer r.stop()
	for i, c := range []struct {
		token, id string
		want      codes.Code
	}{
		{"", "checkout-1", codes.Unauthenticated},
		{"wrong", "checkout-1", codes.Unauthenticated},
		{"shop", "checkout-1", codes.OK},
		{"shop", "cart-1", codes.OK},
		{"shop", "cart-2", codes.PermissionDenied},
		{"shop", "bank-1", codes.PermissionDenied},
		{"bank", "bank-1", codes.OK},
	} {
		if got := r.pod(byte(50+i), c.id, c.token).register(); got != c.want {
			t.Errorf("%q as %s: %v, want %v", c.token, c.id, got, c.want)
		}
	}

	mine, theirs := r.pod(1, "checkout-1", "shop"), r.pod(2, "bank-1", "bank")
	if mine.register() != codes.OK || theirs.register() != codes.OK {
		t.Fatal("they cannot register")
	}
	honest := theirs.push()
	honest.send(theirs.batch(1, 10))
	honest.acked(1)
	// In another's name, in another's epoch, and in another's batches.
	inName := r.pod(2, "bank-1", "shop").push()
	inName.send(theirs.batch(2, 10))
	if got := inName.ended(); got.Code() != codes.PermissionDenied || got.Message() != "permission denied" {
		t.Errorf("in another's name: %v", got)
	}
	thief := r.pod(2, "checkout-1", "shop")
	if got := thief.register(); got != codes.PermissionDenied {
		t.Errorf("another's epoch was registered: %v", got)
	}
	inEpoch := thief.push()
	inEpoch.send(thief.batch(2, 10))
	if got := inEpoch.ended(); got.Code() != codes.PermissionDenied {
		t.Errorf("in another's epoch: %v", got)
	}
	within := mine.push()
	within.send(mine.batch(1, 10))
	within.acked(1)
	within.send(theirs.batch(2, 10))
	if got := within.ended(); got.Code() != codes.InvalidArgument {
		t.Errorf("another's batch: %v", got)
	}
	honest.send(theirs.batch(2, 10))
	honest.acked(2)
	if got := r.spooled(); !slices.Equal(got[1], seqs(1, 1)) || !slices.Equal(got[2], seqs(1, 2)) {
		t.Errorf("spooled %v", got)
	}

	// What it may do changes, and then it may do nothing.
	k.set("bank", "bank-2")
	if got := honest.ended(); got.Code() != codes.PermissionDenied {
		t.Errorf("a name that was taken away: %v", got)
	}
	again := mine.push()
	again.send(mine.batch(2, 10))
	again.acked(2)
	k.set("shop", "")
	if got := again.ended(); got.Code() != codes.Unauthenticated {
		t.Errorf("a token that was taken away: %v", got)
	}
	if mine.register() != codes.Unauthenticated {
		t.Error("it could register with it")
	}
}

// TestS05NothingElse is served: not even to who may push.
func TestS05NothingElse(t *testing.T) {
	r := start(t, options{})
	defer r.stop()
	cc, err := grpc.NewClient("passthrough:///"+r.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cc.Close() }()
	for _, method := range []string{
		"/weir.capture.v1.IngestService/Export", "/weir.capture.v1.ProxyService/Drop", "/grpc.health.v1.Health/Check",
		"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/grpc.channelz.v1.Channelz/GetServers",
	} {
		if err := cc.Invoke(t.Context(), method, &capturev1.Ack{}, &capturev1.Ack{}); status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: %v", method, err)
		}
	}
	// The first message above the limit ends the stream, not the forwarder.
	p := r.pod(1, "p", "")
	if p.register() != codes.OK {
		t.Fatal("it cannot register")
	}
	s := p.push()
	s.send(p.batch(1, receive.MaxMessage))
	if got := s.ended(); got.Code() != codes.ResourceExhausted {
		t.Errorf("a message of %d bytes: %v", 4*receive.MaxMessage, got)
	}
	s = p.push()
	s.send(p.batch(1, 10))
	s.acked(1)
}

// TestS06Share: a source that fills the spool has to wait while there are
// others, who lose nothing to it.
func TestS06Share(t *testing.T) {
	for _, when := range []spool.WhenFull{spool.DropOldest, spool.DropNewest} {
		t.Run(string(when), func(t *testing.T) {
			k := &tokens{}
			k.set("greedy", "greedy")
			k.set("honest", "honest")
			const limit = 1 << 20
			r := start(t, options{max: limit, when: when, door: receive.Door{Token: k.identity, May: admit.May}})
			defer r.stop()
			greedy, honest := r.pod(1, "greedy", "greedy"), r.pod(2, "honest", "honest")
			if greedy.register() != codes.OK || honest.register() != codes.OK {
				t.Fatal("they cannot register")
			}
			quiet := honest.push()
			for seq := uint64(1); seq <= 5; seq++ {
				quiet.send(honest.batch(seq, 4<<10))
				quiet.acked(seq)
			}
			flood := greedy.push()
			seq := uint64(0)
			var end error
			for end == nil && seq < 1000 {
				seq++
				flood.send(greedy.batch(seq, 4<<10))
				_, end = flood.Recv()
			}
			if status.Code(end) != codes.Unavailable || !strings.Contains(end.Error(), "most of it is yours") {
				t.Fatalf("after %d batches: %v", seq, end)
			}
			if used := r.spool.Log().Bytes(); used < limit/2 {
				t.Errorf("it had to stop at %d of %d bytes", used, limit)
			}
			for seq := uint64(6); seq <= 8; seq++ {
				quiet.send(honest.batch(seq, 4<<10))
				quiet.acked(seq)
			}
			if got := r.spooled()[2]; !slices.Equal(got, seqs(1, 8)) {
				t.Errorf("of the other there is %v", got)
			}
		})
	}
}

// TestS06Alone: who is alone may fill it all.
func TestS06Alone(t *testing.T) {
	k := &tokens{}
	k.set("only", "only")
	r := start(t, options{max: 1 << 20, door: receive.Door{Token: k.identity, May: admit.May}})
	defer r.stop()
	p := r.pod(1, "only", "only")
	if p.register() != codes.OK {
		t.Fatal("it cannot register")
	}
	s := p.push()
	for seq := uint64(1); seq <= 120; seq++ {
		s.send(p.batch(seq, 4<<10))
		s.acked(seq)
	}
}

// TestS06Hostile: while one proxy sends what is too large, in the wrong order,
// and never reads, all of another's pairs arrive.
func TestS06Hostile(t *testing.T) {
	r := start(t, options{door: receive.Door{Rate: 64 << 20}})
	defer r.stop()
	honest := r.pod(1, "honest", "")
	if honest.register() != codes.OK {
		t.Fatal("it cannot register")
	}
	ctx, cancel := context.WithCancel(t.Context())
	var hostile sync.WaitGroup
	for n := range 4 {
		hostile.Go(func() {
			epoch := byte(100 + n)
			for ctx.Err() == nil {
				p := r.pod(epoch, fmt.Sprint("hostile-", n), "")
				p.register()
				s, err := p.proxy.Push(p.ctx)
				for seq := uint64(1); err == nil && ctx.Err() == nil && seq < 50; seq++ {
					b := p.batch(seq*uint64(1+n%2), 64<<10)
					if n == 3 {
						b.Source = &capturev1.Source{ProxyId: strings.Repeat("../", 100), Epoch: bytes.Repeat([]byte{epoch}, 16)}
					}
					err = s.Send(&capturev1.PushRequest{Kind: &capturev1.PushRequest_Batch{Batch: b}})
				}
			}
		})
	}
	s := honest.push()
	const last = 200
	for seq := uint64(1); seq <= last; seq++ {
		s.send(honest.batch(seq, 100))
		s.acked(seq)
	}
	cancel()
	hostile.Wait()
	if n := r.receiver.Totals().Pairs; n < last*perBatch-last { // one of each batch is a health check
		t.Errorf("%d pairs", n)
	}
}

// TestS06Slow: who does not read what it is told holds up nobody, and no more
// than its own.
func TestS06Slow(t *testing.T) {
	r := start(t, options{})
	defer r.stop()
	slow, honest := r.pod(1, "slow", ""), r.pod(2, "honest", "")
	if slow.register() != codes.OK || honest.register() != codes.OK {
		t.Fatal("they cannot register")
	}
	s := slow.push()
	for seq := uint64(1); seq <= 2000; seq++ {
		s.send(slow.batch(seq, 10)) // and reads nothing
	}
	h := honest.push()
	for seq := uint64(1); seq <= 20; seq++ {
		h.send(honest.batch(seq, 10))
		h.acked(seq)
	}
	if n := r.registry.Connected(); n > registry.MaxLive || n < 1 {
		t.Errorf("%d are connected", n)
	}
}
