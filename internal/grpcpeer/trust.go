package grpcpeer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// remoteAlert is what crypto/tls calls the other side's word that it does not
// go on.
const remoteAlert = "remote error"

// bearer shows a token with each call (RFC 6750). Whether the connection may
// carry one was seen to when it was made.
type bearer string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (b bearer) RequireTransportSecurity() bool { return false }

func (p *Peer) credentials() credentials.TransportCredentials {
	if t := p.set.Access.TLS(p.set.Addr); t != nil {
		return &handshake{credentials.NewTLS(t), p}
	}
	return insecure.NewCredentials()
}

// handshake remembers how TLS began.
type handshake struct {
	credentials.TransportCredentials
	p *Peer
}

// ClientHandshake implements credentials.TransportCredentials.
func (h *handshake) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := h.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if err != nil {
		h.p.mu.Lock()
		defer h.p.mu.Unlock()
		h.p.failed = h.p.untrusted(err)
		return nil, nil, err
	}
	return &witness{Conn: conn, p: h.p}, info, nil
}

// Clone implements credentials.TransportCredentials.
func (h *handshake) Clone() credentials.TransportCredentials {
	return &handshake{h.TransportCredentials.Clone(), h.p}
}

// untrusted says what to do about a connection that one of the two sides did
// not trust.
func (p *Peer) untrusted(err error) error {
	name := p.set.Access.Var
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return fmt.Errorf("it does not speak TLS; where that is meant, set %s=off", name("TLS"))
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return fmt.Errorf("its certificate is of an authority that is not known here: set %s to that authority's certificate", name("CA_FILE"))
	}
	if wrong, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Errorf("its certificate is for another name: %w; set %s to a name that the certificate has", wrong, name("ADDR"))
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return fmt.Errorf("its certificate is not valid, and it needs another: %w", invalid)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == remoteAlert {
		return fmt.Errorf("it does not take this side's certificate (%w): set %s and %s to one of an authority that it knows, which has not expired", op.Err, name("CERT_FILE"), name("KEY_FILE"))
	}
	return fmt.Errorf("TLS: %w", err)
}

// Denied is what to do about an answer that refuses us for who we are; nil for
// any other.
func (p *Peer) Denied(err error) error {
	name := p.set.Access.Var
	switch code := status.Code(err); {
	case code == codes.Unauthenticated && p.token != "":
		return fmt.Errorf("it does not take the token of %s: it may have been revoked, have expired, or be for another; set a new one", name("TOKEN"))
	case code == codes.Unauthenticated && p.set.Access.Certified():
		return fmt.Errorf("it does not take the certificate of %s, or wants a token: set %s", name("CERT_FILE"), name("TOKEN"))
	case code == codes.Unauthenticated:
		return fmt.Errorf("it wants to know who this is: set %s, or %s and %s", name("TOKEN"), name("CERT_FILE"), name("KEY_FILE"))
	case code == codes.PermissionDenied && p.set.Forbidden != "":
		return fmt.Errorf("it knows who this is and refuses: %s", p.set.Forbidden)
	case code == codes.PermissionDenied:
		return errors.New("it knows who this is and refuses")
	}
	return nil
}
