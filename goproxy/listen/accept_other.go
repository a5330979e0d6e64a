//go:build !linux

package listen

import (
	"net"
	"time"

	"github.com/weir-capture/weir/internal/nonblock"
)

// config has Go set keepalive on each connection.
func config() net.ListenConfig { return net.ListenConfig{} }

// listening is a listening socket.
type listening struct{ ln *net.TCPListener }

func newListening(ln *net.TCPListener) (listening, error) { return listening{ln}, nil }

func (l listening) setDeadline(t time.Time) error { return l.ln.SetDeadline(t) }
func (l listening) close() error                  { return l.ln.Close() }

// accept waits for a connection, and has it taken.
func (l listening) accept(take func(*nonblock.Socket) (more bool)) error {
	tcp, err := l.ln.AcceptTCP()
	if err != nil {
		return err
	}
	conn, err := nonblock.FromConn(tcp)
	if err != nil {
		return err
	}
	take(conn)
	return nil
}

// Elsewhere connections that come while the listener closes may be reset.

func (listening) ignoreSYN() bool { return false }

func (listening) takeWaiting(int) []*nonblock.Socket { return nil }
