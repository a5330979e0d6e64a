package relay

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/weir-capture/weir/internal/nonblock"
)

// Dialer connects to one upstream.
type Dialer struct {
	// Timeout bounds a Dial. It may be changed before the first one.
	Timeout time.Duration

	addr    string
	literal netip.AddrPort // if addr is one
	refuse  func(netip.AddrPort) error
}

// NewDialer makes a dialer of host:port. A name is resolved for each
// connection, as the system says, and its addresses are tried as net.Dialer
// does. refuse is asked about each address that is about to be dialled; what
// it returns ends the attempt.
func NewDialer(addr string, timeout time.Duration, refuse func(netip.AddrPort) error) *Dialer {
	d := &Dialer{addr: addr, Timeout: timeout, refuse: refuse}
	// What the net package makes of other literals is its own business.
	if a, err := netip.ParseAddrPort(addr); err == nil && a.Addr().Zone() == "" && !a.Addr().IsUnspecified() && a.Port() != 0 {
		d.literal = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	}
	return d
}

// Dial connects, or says with an error of the net package why it did not. The
// end of ctx ends it.
func (d *Dialer) Dial(ctx context.Context) (*nonblock.Socket, error) {
	if d.literal.IsValid() {
		if err := d.refuse(d.literal); err != nil {
			return nil, fmt.Errorf("dial %s: %w", d.literal, err)
		}
		return nonblock.Dial(ctx, d.literal, d.Timeout)
	}
	by := net.Dialer{Timeout: d.Timeout, Control: func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return nil // and it will not be dialled either
		}
		return d.refuse(to)
	}}
	conn, err := by.DialContext(ctx, "tcp", d.addr)
	if err != nil {
		return nil, err
	}
	return nonblock.FromConn(conn.(*net.TCPConn)) // "tcp" gives nothing else
}
