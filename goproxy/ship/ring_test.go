package ship

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/goproxy/ship/ring"
	"github.com/weir-capture/weir/goproxy/ship/shiptest"
	"github.com/weir-capture/weir/internal/budget"
	"github.com/weir-capture/weir/internal/vfs/faultfs"
)

// onDisk gives a shipper a ring of limit bytes in a directory.
func onDisk(dir *faultfs.FS, limit int64) func(*Settings) {
	return func(s *Settings) {
		s.OpenRing = func() (*ring.Ring, ring.Swept, error) { return ring.New(dir, limit), ring.Swept{}, nil }
	}
}

// fill adds pairs for a while, ten batches a second, and looks at the books
// all the time. It says how many there was room for.
func (y *yard) fill(batches, size int) (added int) {
	y.t.Helper()
	for range batches {
		added += y.add(50, size)
		time.Sleep(100 * time.Millisecond)
		if y.budget.Used() > y.budget.Limit() {
			y.t.Fatalf("%d bytes are held, of %d", y.budget.Used(), y.budget.Limit())
		}
		y.law()
	}
	return added
}

// drained waits until nothing waits any more.
func (y *yard) drained() {
	y.t.Helper()
	for end := time.Now().Add(10 * time.Minute); y.waiting() > 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			y.t.Fatalf("%d pairs still wait: %+v", y.waiting(), y.ledger.Pairs())
		}
		y.law()
	}
}

// TestR11TheForwarderIsAway for a while, under load: memory stays within
// its limit, everything that was taken arrives after, and what was not is
// counted. With a ring on disk nothing is lost at all.
func TestR11TheForwarderIsAway(t *testing.T) {
	const pairs = 200 * 50
	for _, c := range []struct {
		name string
		ring int64
	}{{"without a ring", 0}, {"with a ring", 1 << 30}, {"with a small ring", 4 << 20}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := faultfs.New()
				var edit []func(*Settings)
				if c.ring > 0 {
					edit = append(edit, onDisk(dir, c.ring))
				}
				y := newYard(t, 1<<20, edit...)
				added := y.fill(pairs/50, 1000)
				used, limit := y.Ring()
				if used > limit || limit != c.ring || dir.Used() != used {
					t.Errorf("the ring takes %d of %d, the disk says %d", used, limit, dir.Used())
				}
				// The first batch waits since fill began, whether or not it is
				// on the disk.
				if lag, filled := y.Lag(), pairs/50*100*time.Millisecond; lag < filled-2*time.Second || lag > filled {
					t.Errorf("the oldest batch waits for %v of %v", lag, filled)
				}
				f := &shiptest.Forwarder{ID: "a"}
				y.reach(f)
				time.Sleep(6 * time.Second)
				y.drained()
				y.exact(added, f)
				if lag := y.Lag(); lag != 0 {
					t.Errorf("nothing waits, for %v", lag)
				}
				l := y.ledger.Pairs()
				if l.Seen != pairs || l.Dropped["memory"] != uint64(pairs-added) || len(l.Dropped) > 1 {
					t.Errorf("%+v", l)
				}
				if whole := added == pairs; whole != (c.ring == 1<<30) {
					t.Errorf("there was room for %d of %d", added, pairs)
				}
				if used, _ := y.Ring(); used != 0 || dir.Used() != 0 {
					t.Errorf("%d bytes are left in the ring", used)
				}
				// And again: nothing of the first time is in the way.
				more := y.fill(20, 1000)
				y.drained()
				y.exact(added+more, f)
			})
		})
	}
}

// TestR11LargePairs: what a batch from the ring needs is there, also when it
// is much of the memory.
func TestR11LargePairs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 6))
		y := newYard(t, 1<<20, onDisk(faultfs.New(), 1<<30))
		added := 0
		for range 120 {
			added += y.add(1, rng.IntN(600<<10))
			time.Sleep(100 * time.Millisecond)
			if y.budget.Used() > y.budget.Limit() {
				t.Fatalf("%d bytes are held", y.budget.Used())
			}
		}
		if added < 80 {
			t.Fatalf("there was room for %d of 120", added)
		}
		f := &shiptest.Forwarder{ID: "a"}
		y.reach(f)
		time.Sleep(6 * time.Second)
		y.drained()
		y.exact(added, f)
	})
}

// TestR12AForwarderThatReadsAndDoesNotAcknowledge: what it may have stays in
// memory, in bounds; the rest goes to the ring.
func TestR12AForwarderThatReadsAndDoesNotAcknowledge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := faultfs.New()
		y := newYard(t, 1<<20, onDisk(dir, 1<<30))
		stuck := &shiptest.Forwarder{ID: "a"}
		stuck.OnBatch = func(*capturev1.Batch) (bool, error) { return false, nil }
		leave := y.reach(stuck)
		time.Sleep(time.Second)
		added := y.fill(80, 1000)
		if added != 80*50 {
			t.Errorf("there was room for %d", added)
		}
		if n := len(stuck.Pairs()); n == 0 || n > 500 {
			t.Errorf("%d pairs were sent and are held", n)
		}
		leave()
		y.law()
		f := &shiptest.Forwarder{ID: "b", Acked: []*capturev1.Range{{First: 1, Last: 2}}}
		y.reach(f)
		time.Sleep(6 * time.Second)
		y.drained()
		y.exact(added, stuck, f)
		for _, b := range f.Batches() {
			if again := b.Seq <= uint64(len(stuck.Batches())); b.MaybeDuplicate != again {
				t.Errorf("batch %d, maybe a duplicate: %v", b.Seq, b.MaybeDuplicate)
			}
		}
	})
}

// TestR12NothingBlocks: while the stream takes nothing and the disk does not
// answer, pairs are taken or let go at once.
func TestR12NothingBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := faultfs.New()
		hang := make(chan struct{})
		dir.SetFault(func(op faultfs.Op) *faultfs.Fault {
			if op.Kind == "write" {
				<-hang
			}
			return nil
		})
		y := newYard(t, 1<<20, onDisk(dir, 1<<30))
		ln := bufconn.Listen(256 << 10)
		f := &shiptest.Forwarder{ID: "a"}
		stop := f.Serve(ln)
		var mu sync.Mutex
		var conns []*blocking
		y.set(func(ctx context.Context) (net.Conn, error) {
			c, err := ln.DialContext(ctx)
			if err != nil {
				return nil, err
			}
			b := &blocking{Conn: c, blocked: make(chan struct{}), gone: make(chan struct{})}
			mu.Lock()
			conns = append(conns, b)
			mu.Unlock()
			return b, nil
		})
		t.Cleanup(func() { y.end(); stop() })
		time.Sleep(time.Second)
		mu.Lock()
		close(conns[0].blocked)
		mu.Unlock()
		began := time.Now()
		added := y.add(20_000, 1000) // ten times of what there is memory for
		if d := time.Since(began); d != 0 {
			t.Errorf("it took %v", d)
		}
		if added == 0 || added == 20_000 {
			t.Errorf("there was room for %d", added)
		}
		y.law()
		time.Sleep(20 * time.Second)
		mu.Lock()
		n := len(conns)
		mu.Unlock()
		if n < 2 {
			t.Error("after 20 s the stream that takes nothing is still believed in")
		}
		close(hang)
		y.drained()
		y.exact(added, f)
	})
}

// blocking is a connection whose writes can come to stand.
type blocking struct {
	net.Conn
	blocked, gone chan struct{}
	once          sync.Once
}

func (b *blocking) Write(p []byte) (int, error) {
	select {
	case <-b.blocked:
		<-b.gone
		return 0, net.ErrClosed
	default:
		return b.Conn.Write(p)
	}
}

func (b *blocking) Close() error {
	b.once.Do(func() { close(b.gone) })
	return b.Conn.Close()
}

// TestADamagedRing: what is damaged is counted, to the pair, and leaves no
// hole in the numbers.
func TestADamagedRing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 9))
		dir := faultfs.New()
		y := newYard(t, 1<<20, onDisk(dir, 4<<20))
		added := y.fill(100, 400)
		names, _ := dir.Names()
		if len(names) < 3 {
			t.Fatalf("%d segments", len(names))
		}
		for i := range 5 {
			name := names[i*len(names)/5]
			b := dir.Get(name)
			file, err := dir.OpenFile(name, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			at := rng.IntN(len(b))
			if _, err := file.WriteAt([]byte{b[at] ^ 4}, int64(at)); err != nil {
				t.Fatal(err)
			}
		}
		f := &shiptest.Forwarder{ID: "a"}
		y.reach(f)
		time.Sleep(6 * time.Second)
		y.drained()
		l := y.ledger.Pairs()
		lost := int(l.Dropped["ring"])
		if lost == 0 || lost > 5*maxPairs {
			t.Errorf("%d pairs are lost", lost)
		}
		y.exact(added-lost, f)
		time.Sleep(2 * time.Second)
		hs := f.Heartbeats()
		if c := hs[len(hs)-1].Counters; c.Seen != c.Batched+c.Dropped["ring"]+c.Dropped["memory"] || c.Dropped["ring"] != uint64(lost) {
			t.Errorf("%v", c)
		}
		if !strings.Contains(y.log.String(), "did not give a batch back") {
			t.Error("nobody says so")
		}
	})
}

// TestADiskThatFails: full or broken, it costs what memory cannot hold, and is
// used again when it has recovered.
func TestADiskThatFails(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EIO} {
		t.Run(errno.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := faultfs.New()
				y := newYard(t, 1<<20, onDisk(dir, 1<<30))
				added := y.fill(50, 400)
				dir.SetFault(func(op faultfs.Op) *faultfs.Fault {
					if op.Kind == "write" || op.Kind == "create" {
						return &faultfs.Fault{Err: errno, Short: op.Len / 3}
					}
					return nil
				})
				added += y.fill(60, 400)
				if y.ledger.Pairs().Dropped["memory"] == 0 {
					t.Error("there was room although the disk failed")
				}
				dir.SetFault(nil)
				time.Sleep(time.Minute) // it is tried again
				dropped := y.ledger.Pairs().Dropped["memory"]
				added += y.fill(50, 400)
				if l := y.ledger.Pairs(); l.Dropped["memory"] != dropped || l.Dropped["ring"] != 0 {
					t.Errorf("the disk has recovered; %+v, before %d", l, dropped)
				}
				f := &shiptest.Forwarder{ID: "a"}
				y.reach(f)
				time.Sleep(6 * time.Second)
				y.drained()
				y.exact(added, f)
				if n := strings.Count(y.log.String(), "Could not write to the ring on disk"); n == 0 || n > 10 {
					t.Errorf("%d lines about it", n)
				}
			})
		})
	}
}

// TestARingThatCannotBeOpened is asked for again.
func TestARingThatCannotBeOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		y := newYard(t, 1<<20, func(s *Settings) {
			s.OpenRing = func() (*ring.Ring, ring.Swept, error) {
				if tries++; tries < 4 {
					return nil, ring.Swept{}, errors.New("open ring: permission denied")
				}
				return ring.New(faultfs.New(), 1<<30), ring.Swept{Rings: 2, Bytes: 7}, nil
			}
		})
		y.fill(50, 1000)
		if y.ledger.Pairs().Dropped["memory"] == 0 {
			t.Error("there was room without a ring")
		}
		time.Sleep(time.Minute)
		if _, limit := y.Ring(); limit == 0 || tries != 4 {
			t.Errorf("%d tries, limit %d", tries, limit)
		}
		dropped := y.ledger.Pairs().Dropped["memory"]
		y.fill(50, 1000)
		if now := y.ledger.Pairs().Dropped["memory"]; now != dropped {
			t.Errorf("%d pairs were dropped with a ring", now-dropped)
		}
		for _, want := range []string{"No ring on disk", "CAPTURE_SPOOL_DIR", "Removed what ended proxies left on disk", "rings=2 bytes=7"} {
			if !strings.Contains(y.log.String(), want) {
				t.Errorf("the log lacks %q", want)
			}
		}
	})
}

// TestEverythingAtOnce: streams that break, a disk that fails, forwarders that
// do not acknowledge. Every pair is where the books say.
func TestEverythingAtOnce(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 1))
				dir := faultfs.New()
				chance := func(n int) bool { return rng.IntN(n) == 0 }
				y := newYard(t, 1<<20, onDisk(dir, 3<<20))
				f := &shiptest.Forwarder{ID: "a"}
				var mu sync.Mutex
				acks := rand.New(rand.NewPCG(seed, 2))
				f.OnBatch = func(*capturev1.Batch) (bool, error) {
					mu.Lock()
					defer mu.Unlock()
					switch acks.IntN(12) {
					case 0:
						return false, status.Error(codes.Unavailable, "no")
					case 1, 2, 3:
						return false, nil
					}
					return true, nil
				}
				var leave func()
				for range 300 {
					switch {
					case leave == nil && chance(20):
						leave = y.reach(f)
					case leave != nil && chance(10):
						leave()
						leave = nil
					case chance(10):
						f.Break()
					case chance(10):
						broken := chance(2)
						dir.SetFault(func(op faultfs.Op) *faultfs.Fault {
							if broken && op.Kind != "mkdir" {
								return &faultfs.Fault{Err: syscall.EIO}
							}
							return nil
						})
					case chance(10):
						names, _ := dir.Names()
						for _, name := range names {
							if file, err := dir.OpenFile(name, os.O_RDWR, 0); err == nil && chance(3) {
								_, _ = file.WriteAt([]byte{1, 2, 3}, rng.Int64N(1<<18)) // a fault may forbid it
							}
						}
					}
					y.add(rng.IntN(80), rng.IntN(3000))
					time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
					y.law()
					if y.budget.Used() > y.budget.Limit() {
						t.Fatalf("%d bytes are held", y.budget.Used())
					}
				}
				dir.SetFault(nil)
				if leave != nil {
					leave()
				}
				calm := &shiptest.Forwarder{ID: "b"}
				y.reach(calm)
				time.Sleep(time.Minute)
				y.drained()
				l := y.ledger.Pairs()
				if l.Waiting != 0 || l.Seen != l.Batched+l.Dropped["memory"]+l.Dropped["ring"] {
					t.Errorf("%+v", l)
				}
				y.exact(int(l.Batched), f, calm)
				y.end()
				if n := dir.Used(); n != 0 {
					t.Errorf("%d bytes are left on the disk", n)
				}
			})
		})
	}
}

// TestTheEndIsCounted: what the forwarder hears last adds up with what it has.
func TestTheEndIsCounted(t *testing.T) {
	for _, c := range []struct {
		name string
		ring bool
		// acked batches, before it acknowledges nothing any more.
		acks int
	}{{"in memory", false, 0}, {"with a ring", true, 0}, {"with a ring, slowly", true, 30}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var edit []func(*Settings)
				dir := faultfs.New()
				if c.ring {
					edit = append(edit, onDisk(dir, 64<<20))
				}
				y := newYard(t, 1<<20, edit...)
				added := y.fill(60, 1000)
				f := &shiptest.Forwarder{ID: "a"}
				n := 0
				f.OnBatch = func(*capturev1.Batch) (bool, error) { n++; return n <= c.acks, nil }
				y.reach(f)
				time.Sleep(6 * time.Second)
				y.add(20, 100)
				y.end()
				if !c.ring {
					added = int(y.ledger.Pairs().Batched) // all was sent
				}
				hs := f.Heartbeats()
				last := hs[len(hs)-1]
				got := last.Counters
				if !last.Goodbye || got.Batched != uint64(len(f.Pairs())) || got.Seen != got.Batched+got.Dropped["stopped"]+got.Dropped["memory"] {
					t.Errorf("it has %d pairs, and heard %v", len(f.Pairs()), last)
				}
				if left := got.Dropped["stopped"]; (left > 0) != c.ring {
					t.Errorf("%d of %d were given up", left, added)
				}
				if l := y.ledger.Pairs(); l.Waiting != 0 || l.Open != 0 {
					t.Errorf("%+v", l)
				}
				if dir.Used() != 0 {
					t.Errorf("%d bytes are left on the disk", dir.Used())
				}
			})
		})
	}
	t.Run("without a forwarder", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			dir := faultfs.New()
			y := newYard(t, 1<<20, onDisk(dir, 64<<20))
			added := y.fill(60, 1000)
			y.end()
			if l := y.ledger.Pairs(); l.Dropped["stopped"] != uint64(added) || l.Waiting != 0 || y.budget.Used() != 0 || dir.Used() != 0 {
				t.Errorf("%+v, %d and %d bytes", l, y.budget.Used(), dir.Used())
			}
			y.add(1, 1)
			if l := y.ledger.Pairs(); l.Dropped["stopped"] != uint64(added)+1 || y.budget.Used() != 0 {
				t.Errorf("one that came too late: %+v", l)
			}
			if want := fmt.Sprintf(`msg="Stopped before the forwarder had everything" pairs=%d`, added); !strings.Contains(y.log.String(), want) {
				t.Errorf("the log lacks %s", want)
			}
		})
	})
}

// TestSlowToTheEnd: there is always something to send, and still the time for
// the goodbye comes.
func TestSlowToTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 64<<20)
		f := &shiptest.Forwarder{ID: "a"}
		f.OnBatch = func(*capturev1.Batch) (bool, error) { time.Sleep(100 * time.Millisecond); return true, nil }
		y.reach(f)
		time.Sleep(time.Second)
		const added = 300
		y.add(added, 100<<10) // each a batch of its own
		began := time.Now()
		y.end()
		if d := time.Since(began); d > drainTime+goodbyeTime+time.Second {
			t.Errorf("took %v", d)
		}
		hs := f.Heartbeats()
		last := hs[len(hs)-1]
		if c := last.Counters; !last.Goodbye || c.Dropped["stopped"] == 0 || c.Batched != uint64(len(f.Pairs())) || c.Seen != added || c.Seen != c.Batched+c.Dropped["stopped"] {
			t.Errorf("it has %d pairs, and heard %v", len(f.Pairs()), last)
		}
	})
}

// TestADiskThatHangs keeps nobody from ending, and what it was given last is
// not counted twice.
func TestADiskThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := faultfs.New()
		hang := make(chan struct{})
		dir.SetFault(func(op faultfs.Op) *faultfs.Fault {
			if op.Kind == "write" {
				<-hang
			}
			return nil
		})
		y := newYard(t, 1<<20, onDisk(dir, 1<<30))
		f := &shiptest.Forwarder{ID: "a"}
		f.OnBatch = func(*capturev1.Batch) (bool, error) { return false, nil }
		y.reach(f)
		time.Sleep(time.Second)
		y.fill(50, 1000)
		if n := len(f.Heartbeats()); n < 5 {
			t.Errorf("%d heartbeats while the disk hung", n)
		}
		began := time.Now()
		y.end()
		if d := time.Since(began); d > drainTime+2*goodbyeTime+time.Second {
			t.Errorf("took %v", d)
		}
		close(hang)
		synctest.Wait()
		l := y.ledger.Pairs()
		if l.Seen != l.Batched+l.Dropped["stopped"]+l.Dropped["memory"] || l.Dropped["stopped"] == 0 {
			t.Errorf("%+v", l)
		}
	})
}

// TestWhatMayBeSent is bounded, for it cannot go to the ring any more.
func TestWhatMayBeSent(t *testing.T) {
	b := budget.New(1 << 20)
	for _, withRing := range []bool{true, false} {
		q := newQueue(b, withRing)
		for range 8 {
			q.add(&parcel{contents: own(nil), held: 100 << 10, pairs: 1})
		}
		sent := 0
		for {
			p, fresh := q.next(uint64(sent))
			if p == nil {
				break
			}
			sent++
			if p.seq = uint64(sent); !fresh {
				t.Error("sent again")
			}
		}
		if want := map[bool]int{true: 3, false: 8}[withRing]; sent != want {
			t.Errorf("with a ring %v: %d batches were sent, want %d", withRing, sent, want)
		}
		if p, fresh := q.next(0); p == nil || fresh || p.seq != 1 {
			t.Error("what was sent may be sent again")
		}
	}
}
