//go:build !linux

package listen

import "net"

// config has Go set keepalive on each connection.
func config() net.ListenConfig { return net.ListenConfig{} }
