// Package grpcdoor decides who gets into a gRPC server, and how much of it one
// of them may take. Everything is refused that is not let in: also methods that
// nobody serves, reflection, and names of methods that are none.
//
// Who opens a stream is asked for once, before anything of it is read, and again
// now and then while it is open. Those who are refused learn that and nothing
// else; why is for the log and the counters here.
package grpcdoor

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	"github.com/weir-capture/weir/internal/lograte"
)

// What those who are refused are told: nothing that helps to get in.
var (
	ErrUnauthenticated = status.Error(codes.Unauthenticated, "unauthenticated")
	ErrForbidden       = status.Error(codes.PermissionDenied, "permission denied")
	errTooMany         = status.Error(codes.ResourceExhausted, "too many streams")
	errUnavailable     = status.Error(codes.Unavailable, "unavailable")
)

// ErrDenied is what Settings.Token and Settings.Certificate answer for a token
// or a certificate that is nobody's. Any other error means that they could not
// tell.
var ErrDenied = errors.New("denied")

// Reason says why something was refused. There are a few, and they are fixed.
type Reason string

// The reasons.
const (
	NoToken       Reason = "no_token"       // nothing was shown, and that is not enough
	BadToken      Reason = "bad_token"      // the token is nobody's, or was revoked
	BadCert       Reason = "bad_cert"       // the certificate is nobody's, or is no longer valid
	Forbidden     Reason = "forbidden"      // known, but not for this
	UnknownMethod Reason = "unknown_method" // nobody serves that
	Unavailable   Reason = "unavailable"    // who it is could not be found out
	Connections   Reason = "connections"    // too many connections
	Silent        Reason = "silent"         // a connection that asked for nothing in time
	Streams       Reason = "streams"        // too many streams
)

var reasons = []Reason{NoToken, BadToken, BadCert, Forbidden, UnknownMethod, Unavailable, Connections, Silent, Streams}

const (
	// lookupTime bounds how long a token may be looked up: the connection
	// waits for it.
	lookupTime = 2 * time.Second
	// maxToken bounds a token, in bytes; none that anybody gives out is longer.
	maxToken = 1 << 10
	// A connection may open streamBurst streams at once and streamRate a second
	// in the long run, and be refused maxRefused times: programs that mean well
	// need two.
	streamBurst = 64
	streamRate  = 8
	maxRefused  = 8
)

// Identity is whoever was let in.
type Identity struct {
	// ID is what a token or a certificate belongs to; empty for who showed
	// neither.
	ID string
	// Name is for people.
	Name string
}

// Settings are what a Door needs. Zero values mean the defaults that stand
// beside them.
type Settings struct {
	// Methods are served ("/package.Service/Method"), all others refused.
	Methods []string
	// Token says whose a bearer token is; nil: no token is anybody's. It has to
	// take the same time for any wrong one.
	Token func(ctx context.Context, token string) (Identity, error)
	// Certificate says whose a certificate is that was verified in the
	// handshake, and whether it still would be; nil: none is anybody's.
	Certificate func(chain []*x509.Certificate) (Identity, error)
	// Anonymous says whether who shows neither gets in; nil: nobody does.
	Anonymous func(remote netip.Addr) bool

	// Conns bounds the connections, 1024; PerAddress those from one address,
	// half of them; Unproven those from one address that have not been let in
	// yet, 128, which they have ProveTime for: 10 s.
	Conns, PerAddress, Unproven int
	ProveTime                   time.Duration
	// Streams bounds what one identity has open by Guest.Enter: no bound.
	Streams int
	// Rate bounds what one identity sends, in bytes a second: no bound. Who
	// showed nothing goes by its address.
	Rate int64
	// Recheck is how often it is asked again who has a stream open: 20 s.
	Recheck time.Duration

	// Repeated logs who is refused.
	Repeated *lograte.Logger
}

// Door stands before one server.
type Door struct {
	set     Settings
	refused map[Reason]*atomic.Uint64
	parties parties

	mu    sync.Mutex
	conns crowd
	// again is closed, and made anew, when all guests are to be asked again.
	again chan struct{}
}

// New makes a Door. It starts nothing.
func New(set Settings) *Door {
	if set.Conns == 0 {
		set.Conns = 1024
	}
	if set.PerAddress == 0 {
		set.PerAddress = max(1, set.Conns/2)
	}
	if set.Unproven == 0 {
		set.Unproven = 128
	}
	if set.ProveTime == 0 {
		set.ProveTime = 10 * time.Second
	}
	if set.Recheck == 0 {
		set.Recheck = 20 * time.Second
	}
	d := &Door{
		set: set, refused: map[Reason]*atomic.Uint64{},
		parties: newParties(set.Rate), conns: newCrowd(), again: make(chan struct{}),
	}
	for _, r := range reasons {
		d.refused[r] = new(atomic.Uint64)
	}
	return d
}

// Refused counts what was refused since New, by reason.
func (d *Door) Refused() map[string]uint64 {
	all := make(map[string]uint64, len(d.refused))
	for r, n := range d.refused {
		if n := n.Load(); n > 0 {
			all[string(r)] = n
		}
	}
	return all
}

// Option puts the door into a server. It has to listen by Listen too.
func (d *Door) Option() grpc.ServerOption { return grpc.InTapHandle(d.tap) }

// Recheck asks at once who all guests are: something about them has changed.
func (d *Door) Recheck() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.again)
	d.again = make(chan struct{})
}

// Deny counts and logs something that was refused behind the door, and gives
// what its peer is told.
func (d *Door) Deny(ctx context.Context, reason Reason, why string) error {
	d.count(reason)
	attrs := []slog.Attr{slog.String("reason", string(reason))}
	if p, ok := peer.FromContext(ctx); ok {
		attrs = append(attrs, slog.String("peer", p.Addr.String()))
	}
	if why != "" {
		attrs = append(attrs, slog.String("error", why))
	}
	if d.set.Repeated != nil {
		d.set.Repeated.Log(slog.LevelWarn, "Refused a peer", attrs...)
	}
	switch reason {
	case Forbidden, UnknownMethod:
		return ErrForbidden
	case Unavailable:
		return errUnavailable
	case Streams:
		return errTooMany
	}
	return ErrUnauthenticated
}

func (d *Door) count(r Reason) { d.refused[r].Add(1) }

// Guest is whoever has a stream open.
type Guest struct {
	Identity
	door *Door
	// key is what its limits go by.
	key    string
	token  string
	chain  []*x509.Certificate
	remote netip.Addr
	// party is what it takes of the server, once it has entered.
	party *party
}

type guestKey struct{}

// From is who opened the stream of ctx; nil where there is no door.
func From(ctx context.Context) *Guest {
	g, _ := ctx.Value(guestKey{}).(*Guest)
	return g
}

// tap is asked about each stream before anything else is done for it, with the
// connection's lock held: also about those that no interceptor would see.
func (d *Door) tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil, d.Deny(ctx, Unavailable, "the connection has no address")
	}
	from, ok := p.Addr.(*address)
	if !ok {
		return nil, d.Deny(ctx, Unavailable, "the connection did not come through the door")
	}
	if !from.conn.mayOpen(time.Now()) {
		from.conn.drop()
		return nil, d.Deny(ctx, Streams, "streams one after another on one connection")
	}
	g, err := d.meet(p, from, info)
	if err == nil {
		err = g.identify(ctx)
	}
	if err == nil && !slices.Contains(d.set.Methods, info.FullMethodName) {
		err = &denial{UnknownMethod, "no such method"}
	}
	if err != nil {
		if from.conn.refuse() {
			from.conn.drop()
		}
		no, ok := errors.AsType[*denial](err)
		if !ok {
			no = &denial{Unavailable, err.Error()}
		}
		return nil, d.Deny(ctx, no.reason, no.why)
	}
	d.prove(from.conn)
	return context.WithValue(ctx, guestKey{}, g), nil
}

type denial struct {
	reason Reason
	why    string
}

func (d *denial) Error() string { return string(d.reason) + ": " + d.why }

// meet takes down what the peer shows.
func (d *Door) meet(p *peer.Peer, from *address, info *tap.Info) (*Guest, error) {
	g := &Guest{door: d, remote: from.ip}
	if state, ok := p.AuthInfo.(credentials.TLSInfo); ok && len(state.State.VerifiedChains) > 0 {
		g.chain = state.State.PeerCertificates
	}
	shown := info.Header.Get("authorization")
	if len(shown) == 0 {
		return g, nil
	}
	scheme, token, found := strings.Cut(shown[0], " ")
	token = strings.TrimSpace(token)
	if len(shown) > 1 || !found || !strings.EqualFold(scheme, "bearer") || token == "" || len(token) > maxToken {
		return nil, &denial{BadToken, "want one authorization, Bearer and a token"}
	}
	g.token = token
	return g, nil
}

// identify finds out who the guest is. A token counts before a certificate,
// and one that is wrong is not made up for by anything else.
func (g *Guest) identify(ctx context.Context) error {
	set := g.door.set
	var err error
	reason := BadToken
	switch {
	case g.token != "":
		err = ErrDenied
		if set.Token != nil {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, lookupTime)
			defer cancel()
			g.Identity, err = set.Token(ctx, g.token)
		}
	case g.chain != nil && set.Certificate != nil:
		reason = BadCert
		g.Identity, err = set.Certificate(g.chain)
	case set.Anonymous != nil && set.Anonymous(g.remote):
		g.Identity = Identity{}
	default:
		return &denial{NoToken, "neither a token nor a certificate"}
	}
	switch {
	case errors.Is(err, ErrDenied):
		return &denial{reason, strings.TrimSuffix(err.Error(), ErrDenied.Error())}
	case err != nil:
		return &denial{Unavailable, err.Error()}
	case g.ID == "":
		g.key = "address " + g.remote.String()
	default:
		g.key = "identity " + g.ID
	}
	return nil
}

// Key is what limits on the guest go by: its identity, or its address while it
// has none.
func (g *Guest) Key() string { return g.key }

// Watch asks again who the guest is, until ctx ends: then it returns nil.
// Otherwise the error is what the stream is to be ended with. still, which may
// be nil, says whether the guest may do what it does; it is asked too.
func (g *Guest) Watch(ctx context.Context, still func(Identity) bool) error {
	tick := time.NewTicker(g.door.set.Recheck)
	defer tick.Stop()
	for {
		g.door.mu.Lock()
		again := g.door.again
		g.door.mu.Unlock()
		select {
		case <-tick.C:
		case <-again:
		case <-ctx.Done():
			return nil
		}
		// The guest itself belongs to whoever reads its stream.
		now := &Guest{door: g.door, token: g.token, chain: g.chain, remote: g.remote}
		err := now.identify(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil && now.ID != g.ID:
			err = &denial{BadToken, "it belongs to somebody else now"}
		case err == nil && still != nil && !still(now.Identity):
			err = &denial{Forbidden, "it may no longer do that"}
		}
		if no, ok := errors.AsType[*denial](err); ok {
			return g.door.Deny(ctx, no.reason, no.why)
		}
	}
}

// Enter counts a stream of the guest's; leave has to be called at its end. It
// comes before Take. This machine's own programs, where nobody asks who they
// are, are not told apart, and their streams not bounded together.
func (g *Guest) Enter(ctx context.Context) (leave func(), err error) {
	limit := g.door.set.Streams
	if g.ID == "" && g.remote.IsLoopback() {
		limit = 0
	}
	p, ok := g.door.parties.enter(g.key, limit)
	if !ok {
		return nil, g.door.Deny(ctx, Streams, "one identity has that many open")
	}
	g.party = p
	return sync.OnceFunc(p.leave), nil
}

// Take waits until the guest may send n bytes more, or ctx ends.
func (g *Guest) Take(ctx context.Context, n int) error {
	if g.door.set.Rate <= 0 {
		return nil
	}
	return g.party.take(ctx, n)
}

// Listen makes connections known to the door, and bounds them. Those that are
// too many are closed without a word.
func (d *Door) Listen(ln net.Listener) net.Listener { return &listener{ln, d} }

// CertName is the name that a client's certificate is for: its common name, or
// else the first of its names in DNS, or its first URI. Empty: it has none.
func CertName(c *x509.Certificate) string {
	switch {
	case c.Subject.CommonName != "":
		return c.Subject.CommonName
	case len(c.DNSNames) > 0:
		return c.DNSNames[0]
	case len(c.URIs) > 0:
		return c.URIs[0].String()
	}
	return ""
}
