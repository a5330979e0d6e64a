package receive

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/forwarder/registry"
	"github.com/weir-capture/weir/internal/grpcdoor"
)

// maxSources bounds the streams of one identity: a tenth of all, for many
// instances may share a token.
const maxSources = registry.MaxLive / 10

// Door says who may push. With neither Token nor Certificate everybody may, as
// every proxy.
type Door struct {
	// Token says whose a token is, Certificate whose a verified certificate; nil
	// where nobody has one.
	Token       func(ctx context.Context, token string) (grpcdoor.Identity, error)
	Certificate func(chain []*x509.Certificate) (grpcdoor.Identity, error)
	// May says whether an identity may push as a proxy of this id; nil: it may.
	May func(id grpcdoor.Identity, proxyID string) bool
	// TLS is for the listener; nil: it speaks in the clear.
	TLS *tls.Config
	// Rate bounds what an identity sends, in bytes a second; 0: no bound.
	Rate int64
	// Recheck is how often it is asked again who has a stream open: 20 s.
	Recheck time.Duration
	// Conns bounds the connections: some more than proxies may register.
	Conns int
}

// open: nobody is asked who it is.
func (d Door) open() bool { return d.Token == nil && d.Certificate == nil }

func newDoor(set Settings) *grpcdoor.Door {
	d := set.Door
	if d.Conns == 0 {
		d.Conns = registry.MaxLive + 1024
	}
	return grpcdoor.New(grpcdoor.Settings{
		Methods: []string{
			capturev1.ProxyService_Register_FullMethodName, capturev1.ProxyService_Push_FullMethodName,
		},
		Token: d.Token, Certificate: d.Certificate,
		Anonymous: func(netip.Addr) bool { return d.open() },
		// Behind one address there may be thousands of proxies; and they all
		// come at once when a forwarder starts.
		Conns: d.Conns, PerAddress: d.Conns * 3 / 4, Unproven: max(1, d.Conns/8), ProveTime: preface,
		Streams: maxSources, Rate: d.Rate, Recheck: d.Recheck, Repeated: set.Repeated,
	})
}

func (r *Receiver) doorOptions() []grpc.ServerOption {
	options := []grpc.ServerOption{r.door.Option()}
	if t := r.set.Door.TLS; t != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(t)))
	}
	return options
}

// Recheck asks all proxies again who they are: what may be let in has changed.
func (r *Receiver) Recheck() { r.door.Recheck() }

// Refused counts who was not let in, by reason.
func (r *Receiver) Refused() map[string]uint64 { return r.door.Refused() }

// may holds whoever has the stream of ctx to proxy ids of its own.
func (r *Receiver) may(ctx context.Context, proxyID string) error {
	if guest := grpcdoor.From(ctx); !r.allows(guest.Identity, proxyID) {
		return r.door.Deny(ctx, grpcdoor.Forbidden, "it may not push as this proxy")
	}
	return nil
}

func (r *Receiver) allows(id grpcdoor.Identity, proxyID string) bool {
	return r.set.Door.May == nil || r.set.Door.May(id, proxyID)
}
