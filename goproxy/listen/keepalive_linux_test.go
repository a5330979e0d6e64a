package listen

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-capture/weir/internal/nonblock"
)

// TestR03APeerThatVanishesIsFound: accepted connections have keepalive, as if Go
// had set it on each.
func TestR03APeerThatVanishesIsFound(t *testing.T) {
	l, err := Open("127.0.0.1:0", 10, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan map[string]int, 1)
	serve(t, l, func(c *nonblock.Socket) {
		defer func() { _ = c.Close() }()
		values := make(map[string]int)
		err := c.Raw().Control(func(fd uintptr) {
			for name, o := range map[string][2]int{
				"on":       {unix.SOL_SOCKET, unix.SO_KEEPALIVE},
				"idle":     {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE},
				"interval": {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL},
				"count":    {unix.IPPROTO_TCP, unix.TCP_KEEPCNT},
				"no delay": {unix.IPPROTO_TCP, unix.TCP_NODELAY},
			} {
				values[name], _ = unix.GetsockoptInt(int(fd), o[0], o[1])
			}
		})
		if err != nil {
			t.Error(err)
		}
		got <- values
	})
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	select {
	case v := <-got:
		if v["on"] != 1 || v["idle"] != 15 || v["interval"] != 15 || v["count"] != 9 || v["no delay"] != 1 {
			t.Errorf("%v", v)
		}
	case <-time.After(10 * time.Second):
		t.Error("nothing was accepted")
	}
}
