package goproxy

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// law checks that the books of a proxy at rest add up.
func (b *bench) law() {
	b.t.Helper()
	l := b.ledger.Pairs()
	sum := l.Batched + l.Waiting + l.Sampled + l.Open
	for _, n := range l.Dropped {
		sum += n
	}
	if l.Seen != sum || l.Open != 0 {
		b.t.Errorf("%+v adds up to %d", l, sum)
	}
}

// load has clients ask for so many things; every answer must be right, and the
// memory within its limit all the while.
func (b *bench) load(clients, requests, size int) {
	b.t.Helper()
	var wg sync.WaitGroup
	for w := range clients {
		c := client(b.t)
		wg.Go(func() {
			for i := range requests {
				id := fmt.Sprintf("%d-%d", w, i)
				resp, err := c.Post(b.url("/echo/"+id), "text/plain", bytes.NewReader(large[:size]))
				if err != nil {
					b.t.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || !bytes.Equal(body, append([]byte(id+":"), large[:size]...)) {
					b.t.Errorf("%d bytes: %v", len(body), err)
				}
				if used := b.budget.Used(); used > b.budget.Limit() {
					b.t.Errorf("capture holds %d bytes", used)
				}
			}
		})
	}
	wg.Wait()
	eventually(b.t, "no pair is open", func() bool { return b.ledger.Pairs().Open == 0 })
}

// TestR11TheForwarderIsAway: clients see nothing of it, memory stays within
// the cap, and afterwards everything that was taken arrives, once. With a ring
// on disk that is everything.
func TestR11TheForwarderIsAway(t *testing.T) {
	srv := app(t)
	for _, withRing := range []bool{false, true} {
		t.Run(fmt.Sprint("ring ", withRing), func(t *testing.T) {
			ln := listenLoop(t)
			addr := ln.Addr().String()
			_ = ln.Close()
			dir := t.TempDir()
			b := start(t, srv.Listener.Addr().String(), func(c *Config) {
				c.Forwarder, c.MemoryLimit, c.LogLevel = addr, 1<<20, 0
				if withRing {
					c.SpoolDir, c.SpoolBytes = dir, 1<<30
				}
			})
			const clients, requests, size = 4, 300, 1000
			b.load(clients, requests, size)
			b.law()
			l := b.ledger.Pairs()
			if (l.Dropped["memory"] == 0) != withRing || l.Seen != clients*requests {
				t.Errorf("%+v", l)
			}
			d := b.Diagnostics()
			if withRing {
				eventually(t, "it is on the disk", func() bool { return b.Diagnostics().Ring.Used > 1<<20 })
				unreadable(t, dir, large[:32])
			} else if d.Ring != (RingInfo{}) {
				t.Errorf("%+v", d.Ring)
			}
			again, err := net.Listen("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			stop := b.forwarder.Serve(again)
			t.Cleanup(func() { _ = b.stop(); stop() })
			eventually(t, "all arrives", func() bool { return b.ledger.Pairs().Waiting == 0 && b.shipper.Parcels() == 0 })
			b.law()
			seen := map[string]bool{}
			shed := 0
			for _, p := range b.forwarder.Pairs() {
				if seen[p.Path] {
					t.Errorf("%s came twice", p.Path)
				}
				seen[p.Path] = true
				if whole := bytes.Equal(p.Request.Body, large[:size]); !whole && !has(p, capturev1.Flag_FLAG_BODY_SHED) && !has(p, capturev1.Flag_FLAG_TRUNCATED) {
					t.Errorf("%v", p)
				} else if !whole {
					shed++
				}
			}
			dropped := int(b.ledger.Pairs().Dropped["memory"])
			if len(seen) != clients*requests-dropped {
				t.Errorf("%d arrived, %d were dropped, of %d", len(seen), dropped, clients*requests)
			}
			_ = b.stop()
			if left, err := os.ReadDir(dir); err != nil || withRing && (len(left) != 1 || left[0].Name() != "lock") {
				t.Errorf("%v are left, %v", left, err)
			}
			t.Logf("%d pairs, %d arrived, %d dropped for memory, %d shortened", clients*requests, len(seen), dropped, shed)
		})
	}
}

// unreadable looks for a text in everything below dir.
func unreadable(t *testing.T, dir string, text []byte) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, text) {
			t.Errorf("%s can be read", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestARingThatCannotBe: where nobody may write there is no ring; the traffic
// and what fits in memory go on.
func TestARingThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	srv := app(t)
	b := start(t, srv.Listener.Addr().String(), func(c *Config) { c.SpoolDir, c.SpoolBytes = file, 1<<30 })
	fetch(t, client(t), "GET", b.url("/echo/1"), nil)
	b.pairs(1)
	eventually(t, "somebody says so", func() bool {
		return strings.Contains(b.log.String(), "No ring on disk") && strings.Contains(b.log.String(), "not a directory")
	})
}

// TestSamplingFromTheForwarder: the rate of the environment holds until the
// forwarder names another, for connections from then on; what fails is kept.
func TestSamplingFromTheForwarder(t *testing.T) {
	srv := app(t)
	b := start(t, srv.Listener.Addr().String(), func(c *Config) { c.KeepOneIn = 1_000_000 }, func(p *Proxy) {
		// Nobody is lucky: the first connections are not among the kept.
		for id := range uint64(10) {
			if _, kept := p.sampler.Conn(id); kept {
				t.Fatal("a connection is kept that would not be in 99,999 of 100,000 runs")
			}
		}
	})
	eventually(t, "it is registered", func() bool { return len(b.forwarder.Heartbeats()) > 0 })
	first := client(t)
	for i := range 5 {
		fetch(t, first, "GET", b.url(fmt.Sprint("/echo/", i)), nil)
	}
	fetch(t, first, "GET", b.url("/status/500"), nil)
	eventually(t, "they are counted", func() bool { return b.ledger.Pairs().Sampled == 5 })
	if p := b.pairs(1)[0]; p.Status != 500 || p.SampleWeight > 1 {
		t.Errorf("%v", p)
	}
	tell := func(n uint32) {
		m := &capturev1.PushResponse{Kind: &capturev1.PushResponse_Settings{Settings: &capturev1.Settings{KeepOneIn: n}}}
		if err := b.forwarder.Say(m); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			n = 1_000_000
		}
		eventually(t, "it is told", func() bool { return b.state().GetKeepOneIn() == n && b.Diagnostics().KeepOneIn == n })
	}
	tell(1)
	fetch(t, first, "GET", b.url("/echo/old"), nil)
	second := client(t)
	fetch(t, second, "GET", b.url("/echo/new"), nil)
	if p := b.pairs(2)[1]; p.Path != "/echo/new" || p.SampleWeight > 1 {
		t.Errorf("%v", p)
	}
	tell(0)
	fetch(t, second, "GET", b.url("/echo/kept"), nil)
	fetch(t, client(t), "GET", b.url("/echo/left-out"), nil)
	if p := b.pairs(3)[2]; p.Path != "/echo/kept" {
		t.Errorf("%v", p)
	}
	eventually(t, "they are counted", func() bool { return b.ledger.Pairs().Sampled == 7 })
	b.law()
	if n := strings.Count(b.log.String(), `"Sampling changed; it is for connections from now on"`); n != 2 {
		t.Errorf("said %d times", n)
	}
}

// TestTheLawUnderAll: sampling, the kill switch, little memory, a ring, a
// forwarder that comes and goes, clients that break off. Every pair is in one
// count, and what the forwarder heard last adds up with what it has.
func TestTheLawUnderAll(t *testing.T) {
	srv := app(t)
	b := start(t, srv.Listener.Addr().String(), func(c *Config) {
		c.MemoryLimit, c.KeepOneIn, c.LogLevel = 1<<20, 3, 0
		c.SpoolDir, c.SpoolBytes = t.TempDir(), 16<<20
	})
	done := make(chan struct{})
	var wg, meddling sync.WaitGroup
	meddling.Go(func() {
		on := false
		for {
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
			b.SetCapture(on)
			on = !on
			b.sampler.Tell(map[bool]uint32{true: 2, false: 0}[on])
			b.forwarder.Break()
		}
	})
	for w := range 6 {
		wg.Go(func() {
			for i := range 60 {
				c := &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
				for j := range 5 {
					path := fmt.Sprintf("/echo/%d-%d-%d", w, i, j)
					switch (i + j) % 7 {
					case 0:
						path = "/status/500"
					case 1:
						path = "/large"
					}
					resp, err := c.Post(b.url(path), "text/plain", bytes.NewReader(large[:i*100]))
					if err != nil {
						t.Error(err)
						continue
					}
					if path == "/large" && i%2 == 0 {
						_, _ = io.CopyN(io.Discard, resp.Body, 1000) // and breaks off
					} else if _, err := io.Copy(io.Discard, resp.Body); err != nil {
						t.Error(err)
					}
					_ = resp.Body.Close()
				}
				c.CloseIdleConnections()
			}
		})
	}
	wg.Wait()
	close(done)
	meddling.Wait()
	if err := b.stop(); err != nil {
		t.Error(err)
	}
	b.law()
	l := b.ledger.Pairs()
	if l.Waiting != 0 || l.Sampled == 0 || l.Batched == 0 || uint64(len(b.forwarder.Pairs())) != l.Batched {
		t.Errorf("%+v, and the forwarder has %d", l, len(b.forwarder.Pairs()))
	}
	hs := b.forwarder.Heartbeats()
	last := hs[len(hs)-1]
	sum := last.Counters.Batched + last.Counters.Sampled
	for _, n := range last.Counters.Dropped {
		sum += n
	}
	if !last.Goodbye || last.Counters.Seen != sum || last.Counters.Batched != l.Batched {
		t.Errorf("it heard %v", last)
	}
	t.Logf("%+v", l)
}
