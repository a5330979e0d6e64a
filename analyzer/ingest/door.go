package ingest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/weir-capture/weir/analyzer/store"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/grpcdoor"
	"github.com/weir-capture/weir/internal/lograte"
)

// Identity is a forwarder as the analyzer's keys know it.
type Identity = grpcdoor.Identity

// ErrDenied is what Door.Authenticate, Door.Verify and Door.BindSpool answer to
// who has no right to what it asks for.
var ErrDenied = grpcdoor.ErrDenied

// Door says who may send frames. Without a token and without a certificate of
// its own a forwarder gets in only where both it and the listener are on the
// loopback.
type Door struct {
	// Authenticate says whose a token is; nil: no token is anybody's. It is
	// asked for each stream, and again while that is open.
	Authenticate func(ctx context.Context, token string) (Identity, error)
	// BindSpool notes that a spool is an identity's, or refuses what is
	// another's. key is the identity's id; empty for who has none: that binds
	// nothing, and is refused what is somebody's. nil: spools are nobody's.
	BindSpool func(ctx context.Context, spool store.ID, key string) error
	// TLS is for the listener; nil: it speaks in the clear. Verify says whether
	// a client's certificate, its chain with it, would be taken now; nil: no
	// certificate lets anybody in.
	TLS    *tls.Config
	Verify func(chain []*x509.Certificate) error
	// Rate bounds what an identity sends, in bytes a second; 0: no bound.
	Rate int64
	// Recheck is how often it is asked again who has a stream open: 20 s.
	Recheck time.Duration
	// PerIdentity is how many streams one identity may have open: a quarter of
	// them all.
	PerIdentity int
}

// spareConns are connections beyond those with a stream: of forwarders that
// come back before their old connection is known to be dead, or that are told
// that there is no stream left, and of those who have not said yet who they
// are.
const spareConns = 256

// openDoor makes the door of a listener, and what gRPC needs for it.
func (s *Server) openDoor(listen net.Addr) (*grpcdoor.Door, []grpc.ServerOption) {
	set, here := s.cfg.Door, onLoopback(listen)
	streams := set.PerIdentity
	if streams == 0 {
		streams = max(1, s.cfg.Streams/4)
	}
	door := grpcdoor.New(grpcdoor.Settings{
		Methods:   []string{capturev1.IngestService_Export_FullMethodName},
		Token:     set.Authenticate,
		Anonymous: func(remote netip.Addr) bool { return here && remote.IsLoopback() },
		Certificate: func(chain []*x509.Certificate) (Identity, error) {
			return s.certified(chain)
		},
		Conns: s.cfg.Streams + spareConns, ProveTime: s.cfg.HelloTimeout,
		Streams: streams, Rate: set.Rate, Recheck: set.Recheck,
		Repeated: lograte.New(s.log, time.Second),
	})
	s.door.Store(door)
	options := []grpc.ServerOption{door.Option()}
	if set.TLS != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(set.TLS)))
	}
	return door, options
}

// certified is whose certificate it is.
func (s *Server) certified(chain []*x509.Certificate) (Identity, error) {
	if s.cfg.Door.Verify == nil {
		return Identity{}, ErrDenied
	}
	if err := s.cfg.Door.Verify(chain); err != nil {
		return Identity{}, errors.Join(err, ErrDenied)
	}
	name := grpcdoor.CertName(chain[0])
	if name == "" {
		return Identity{}, ErrDenied
	}
	return Identity{ID: certPrefix + name, Name: name}, nil
}

// certPrefix begins the ids of those who show a certificate.
const certPrefix = "cert:"

// Certificate is the name that a certificate is for of which an Identity's id
// is; ok is false for those from Door.Authenticate.
func Certificate(id string) (name string, ok bool) { return strings.CutPrefix(id, certPrefix) }

// onLoopback says whether only this machine reaches a listener.
func onLoopback(listen net.Addr) bool {
	at, err := netip.ParseAddrPort(listen.String())
	return err == nil && at.Addr().Unmap().IsLoopback()
}

// bind holds the guest to spools of its own.
func (s *Server) bind(ctx context.Context, spool store.ID) error {
	if s.cfg.Door.BindSpool == nil {
		return nil
	}
	err := s.cfg.Door.BindSpool(ctx, spool, grpcdoor.From(ctx).ID)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrDenied):
		return s.door.Load().Deny(ctx, grpcdoor.Forbidden, "the spool is another forwarder's")
	default:
		return s.door.Load().Deny(ctx, grpcdoor.Unavailable, err.Error())
	}
}

// shownOut ends a stream whose guest would not be let in any more.
type shownOut struct{ err error }

func (o *shownOut) Error() string { return o.err.Error() }
func (o *shownOut) Unwrap() error { return o.err }
