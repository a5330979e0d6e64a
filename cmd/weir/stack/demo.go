package stack

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/weir-capture/weir/client"
	"github.com/weir-capture/weir/cmd/weir/cli"
	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/demo"
)

const (
	demoApp = "shop"
	// onceTimeout bounds making and verifying the requests.
	onceTimeout = 60 * time.Second
	// settle is how long after everything is there something may still come
	// twice.
	settle = time.Second
)

// Demo runs the stack before the sample application, with customers.
func Demo(ctx context.Context, std cli.IO, d cli.Demo) (err error) {
	data := d.Data
	if data == "" {
		if data, err = os.MkdirTemp("", "weir-demo-"); err != nil {
			return fmt.Errorf("make data folder: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(data)) }()
	}
	shop, err := newServer(demo.Shop())
	if err != nil {
		return fmt.Errorf("open sample application: %w", err)
	}
	s, err := open(std.Err, settings{
		to: shop.ln.Addr().String(), app: demoApp, listen: demoAddr, listenPreferred: true, data: data, logLevel: d.LogLevel,
		open:   true, // what is shown is made up
		before: []part{{name: "sample application", Runner: shop}},
		drain:  time.Second, // nobody but the demo's own customers waits
	})
	if err != nil {
		return errors.Join(err, shop.ln.Close())
	}
	api, err := client.New(s.viewerURL)
	if err != nil {
		return s.abandon(err)
	}
	defer api.Close()
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return s.abandon(fmt.Errorf("read random bytes: %w", err))
	}
	run := fmt.Sprintf("%x", random[:4])
	customers := demo.NewCustomers("http://"+s.proxyAddr, run, binary.BigEndian.Uint64(random[:]))
	defer customers.Close()

	fmt.Fprintf(std.Out, "Weir %s\n\n  proxy   %s → a small shop on %s, app %s\n", daemon.Version, s.proxyAddr, shop.ln.Addr(), demoApp)
	s.describe(std.Out)
	fmt.Fprintln(std.Out, "  doors   open to everybody on this machine, as what is shown is made up (AUTH=off); weir up asks who comes in")
	if d.Once {
		return s.run(ctx, func(ctx context.Context) error { return once(ctx, std, api, customers, d.Requests) })
	}
	fmt.Fprintf(std.Out, "\n  A few requests a second are on their way; more: curl http://%s/api/products\n  Ctrl-C stops; a second one stops at once.\n", s.proxyAddr)
	if d.Data == "" {
		fmt.Fprintf(std.Out, "  The data is removed at the end; --data DIR keeps it.\n")
	}
	return s.run(ctx, func(ctx context.Context) error {
		customers.Browse(ctx, func(err error) { fmt.Fprintln(std.Err, "weir: a customer got no answer:", err) })
		return nil
	})
}

// once makes n requests, verifies them and prints the table.
func once(ctx context.Context, std cli.IO, api *client.Client, customers *demo.Customers, n int) error {
	ctx, cancel := context.WithTimeout(ctx, onceTimeout)
	defer cancel()
	fmt.Fprintf(std.Out, "\nMaking %d requests …\n", n)
	began := time.Now()
	since := began.Add(-time.Second) // clocks of one machine may differ by a little
	sent, err := customers.Make(ctx, n)
	if err != nil {
		return err
	}
	made := time.Now()
	report, err := demo.Verify(ctx, api, "app:"+demoApp, since, sent, settle)
	if err != nil {
		return err
	}
	fmt.Fprintf(std.Out, "Made in %.1f s, all verified %.1f s later.\n\n", made.Sub(began).Seconds(), time.Since(made).Seconds())
	if err := report.Write(std.Out); err != nil {
		return err
	}
	if !report.OK() {
		return cli.ErrQuiet
	}
	return nil
}

// server is an HTTP server as a part of the stack.
type server struct {
	ln  net.Listener
	srv *http.Server
}

func newServer(h http.Handler) (*server, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return &server{ln, &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}}, nil
}

// Run serves until ctx ends.
func (s *server) Run(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() { failed <- s.srv.Serve(s.ln) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if s.srv.Shutdown(ctx) != nil {
		// Streams do not end on their own.
		if err := s.srv.Close(); err != nil {
			return fmt.Errorf("close HTTP: %w", err)
		}
	}
	<-failed
	return nil
}
