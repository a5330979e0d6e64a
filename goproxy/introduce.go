package goproxy

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/weir-capture/weir/internal/nonblock"
)

// proxyV2 is the header of the PROXY protocol, version 2, that tells a server
// who is behind a TCP connection (HAProxy's proxy-protocol.txt, section 2.2):
// twelve bytes by which it is known, version and command, family, the length
// of the rest, and the addresses and ports of both ends of the client's
// connection.
func proxyV2(client route) []byte {
	const (
		command = 2<<4 | 1 // version 2, PROXY
		stream  = 1        // TCP
		inet    = 1 << 4
		inet6   = 2 << 4
	)
	from, to := client.from.Addr().Unmap(), client.to.Addr().Unmap()
	h := append(make([]byte, 0, 52), "\r\n\r\n\x00\r\nQUIT\n"...)
	if from.Is4() && to.Is4() {
		h = append(h, command, inet|stream, 0, 12)
		h = append(append(h, from.AsSlice()...), to.AsSlice()...)
	} else {
		h = append(h, command, inet6|stream, 0, 36)
		for _, a := range [...]netip.Addr{from, to} {
			wide := a.As16() // an IPv4 address among IPv6 ones is a mapped one
			h = append(h, wide[:]...)
		}
	}
	h = binary.BigEndian.AppendUint16(h, client.from.Port())
	return binary.BigEndian.AppendUint16(h, client.to.Port())
}

// introduce tells the server who the client is, where the configuration asks
// for that. It comes before the relay has the connection: what the proxy says
// by itself is neither carried nor captured. The send buffer of a new
// connection has room for it, so this waits for nobody.
func (p *Proxy) introduce(server *nonblock.Socket, client route) error {
	if !p.cfg.ProxyV2 {
		return nil
	}
	if _, err := server.Write(proxyV2(client)); err != nil {
		return fmt.Errorf("write PROXY header: %w", err)
	}
	return nil
}
