package file_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protojson"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/forwarder/export/file"
	"github.com/weir-capture/weir/forwarder/filter"
	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/internal/lograte"
	"github.com/weir-capture/weir/internal/vfs"
	"github.com/weir-capture/weir/internal/vfs/faultfs"
	"github.com/weir-capture/weir/seglog"
	"github.com/weir-capture/weir/spool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	name = "archive"
	each = 3 // pairs of a record
)

// add appends n records; the pairs of all are numbered from 1.
func add(t *testing.T, s *spool.Spool, first *uint64, n int) {
	t.Helper()
	for range n {
		h := &capturev1.FrameHead{Source: &capturev1.Source{Epoch: bytes.Repeat([]byte{1}, 16)}, BatchSeq: *first/each + 1, FirstPairSeq: *first + 1, Received: each}
		var pairs []*capturev1.RRPair
		for i := range uint64(each) {
			seq := *first + 1 + i
			pairs = append(pairs, &capturev1.RRPair{
				Id: binary.BigEndian.AppendUint64(make([]byte, 8), seq), ProxySeq: seq, Path: fmt.Sprintf("/x/%d", i),
				Request: &capturev1.Message{Body: bytes.Repeat([]byte{byte(seq)}, 200)},
			})
		}
		*first += each
		head, body, err := frame.Make(h, pairs)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Append(seglog.Record{Head: head, Body: body}); err != nil {
			t.Fatal(err)
		}
	}
}

func options() spool.Options {
	return spool.Options{MaxBytes: 64 << 20, SegmentBytes: 8 << 10, WhenFull: spool.DropOldest, Cursors: []string{name}}
}

func openSpool(t *testing.T, d vfs.FS) *spool.Spool {
	t.Helper()
	s, err := spool.OpenFS(d, options())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

type running struct {
	*file.Exporter
	log         *logBuffer
	drain, stop func()
}

// run starts an exporter of s to "out" in d.
func run(t *testing.T, s *spool.Spool, d vfs.FS, change ...func(*file.Settings)) *running {
	t.Helper()
	r := &running{log: new(logBuffer)}
	log := slog.New(slog.NewTextHandler(r.log, nil))
	repeated := lograte.New(log, time.Second)
	set := file.Settings{
		Name: name, Path: "/somewhere/out", MaxBytes: 1 << 30, Keep: 3, Spool: s,
		Dir:  func(string) (vfs.FS, error) { return d, nil },
		Rand: func() float64 { return 0.5 }, Log: log, Repeated: repeated,
	}
	for _, c := range change {
		c(&set)
	}
	r.Exporter = file.New(set)
	ctx, cancel := context.WithCancel(context.Background())
	drain, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- r.Run(ctx, drain) }()
	var once sync.Once
	wait := func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
		cancel()
		repeated.Close()
	}
	r.drain = func() { once.Do(func() { close(drain); wait() }) }
	r.stop = func() { once.Do(func() { cancel(); wait() }) }
	return r
}

// numbers are the pairs in a file, in its order.
func numbers(t *testing.T, b []byte) (ns []uint64) {
	t.Helper()
	if len(b) == 0 {
		return nil
	}
	if b[len(b)-1] != '\n' {
		t.Fatalf("the last line is torn: %q", b[max(0, len(b)-50):])
	}
	for line := range bytes.Lines(b) {
		p := new(capturev1.RRPair)
		if err := protojson.Unmarshal(line, p); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		ns = append(ns, p.GetProxySeq())
	}
	return ns
}

// inOrder: ns are first to last, each once.
func inOrder(ns []uint64, first, last uint64) error {
	for i, n := range ns {
		if n != first+uint64(i) {
			return fmt.Errorf("pair %d stands in place %d", n, i)
		}
	}
	if uint64(len(ns)) != last-first+1 {
		return fmt.Errorf("%d pairs, want %d", len(ns), last-first+1)
	}
	return nil
}

func TestLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "out.jsonl")
	s, err := spool.Open(filepath.Join(t.TempDir(), "spool"), options())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	onDisk := func(set *file.Settings) { set.Path, set.Dir = path, nil }
	var n uint64
	for range 3 {
		x := run(t, s, nil, onDisk)
		add(t, s, &n, 20)
		x.drain()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := inOrder(numbers(t, b), 1, n); err != nil {
			t.Fatal(err)
		}
		if st := x.State(); st.GetBacklogBytes() != 0 || st.GetError() != "" || st.GetName() != name || st.GetOffset() < s.Log().End() {
			t.Errorf("%v", st)
		}
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	var fields map[string]any
	if err := json.Unmarshal(line, &fields); err != nil || fields["proxy_seq"] != "1" || bytes.Contains(line, []byte(`": `)) {
		t.Errorf("%v: %s", err, line)
	}
}

// TestCutTail: a kill leaves the cursor behind the file, and the last record that
// the file has at the end of the log, where it is damaged and cut. That is no
// other spool: nothing comes again.
func TestCutTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, sd := faultfs.New(), faultfs.New()
		s := openSpool(t, sd)
		var n uint64
		add(t, s, &n, 20)
		x := run(t, s, d)
		synctest.Wait()
		if err := inOrder(numbers(t, d.Get("out")), 1, n); err != nil {
			t.Fatal(err)
		}
		segs := s.Log().Segments()
		newest := segs[len(segs)-1].Name
		sd = sd.Kill()
		x.stop()
		_ = s.Close() // of a process that is dead
		b := sd.Get(newest)
		b[len(b)-1] ^= 1
		sd.Put(newest, b)
		s = openSpool(t, sd)
		if s.Log().Recovery().CutBytes == 0 {
			t.Fatal("nothing was cut")
		}
		// The next start cannot see any more that something was cut.
		x = run(t, s, d)
		synctest.Wait()
		add(t, s, &n, 1)
		synctest.Wait()
		sd = sd.Kill()
		x.stop()
		_ = s.Close()
		s = openSpool(t, sd)
		add(t, s, &n, 10)
		x = run(t, s, d)
		x.drain()
		if err := inOrder(numbers(t, d.Get("out")), 1, n); err != nil {
			t.Errorf("%v\n%s", err, x.log)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestFilterAndDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, sd := faultfs.New(), faultfs.New()
		s := openSpool(t, sd)
		var n uint64
		add(t, s, &n, 10)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		sd = sd.Kill()
		var name string
		for _, f := range must(sd.Names()) {
			if strings.HasSuffix(f, ".seg") {
				name = f
			}
		}
		b := sd.Get(name)
		b[len(b)-60] ^= 1 // the last record's body; behind it stands the mark of closing
		sd.Put(name, b)
		s = openSpool(t, sd)
		f, err := filter.Load("path:/x/0")
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // what was counted stays counted
			x := run(t, s, d, func(set *file.Settings) { set.Filter = f })
			x.drain()
			st := x.State()
			if st.GetFiltered()["expression"] != 9 || st.GetDropped()[frame.ReasonSpoolDamaged] != each {
				t.Errorf("%v", st)
			}
		}
		if got := numbers(t, d.Get("out")); len(got) != 9*(each-1) {
			t.Errorf("%v", got)
		}
		_ = s.Close()
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestRotation: files get numbers, the newest stay, and no record is divided.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := faultfs.New()
		s := openSpool(t, faultfs.New())
		var n uint64
		x := run(t, s, d, func(set *file.Settings) { set.MaxBytes, set.Keep = 5000, 3 })
		for range 60 {
			add(t, s, &n, 1)
			synctest.Wait()
		}
		x.drain()
		var all []uint64
		files := 0
		for _, f := range must(d.Names()) { // "out" sorts before "out.000007"
			if f == "out" || strings.HasPrefix(f, "out.0") {
				files++
				if size := len(d.Get(f)); size > 5000 {
					t.Errorf("%s has %d bytes", f, size)
				}
			}
			if strings.HasPrefix(f, "out.0") {
				all = append(all, numbers(t, d.Get(f))...)
			}
		}
		all = append(all, numbers(t, d.Get("out"))...)
		if files != 4 || len(all) < 3*3*each {
			t.Errorf("%d files with %d pairs", files, len(all))
		}
		if err := inOrder(all, all[0], n); err != nil {
			t.Error(err)
		}
		_ = s.Close()
	})
}

// TestCrash: the power goes at each call, of the spool's process too; after
// that every pair is there, once.
func TestCrash(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	whole := 0
	for stop := 1; stop < 120; stop += 1 + rng.IntN(4) {
		synctest.Test(t, func(t *testing.T) {
			d, sd := faultfs.New(), faultfs.New()
			s := openSpool(t, sd)
			calls := 0
			d.SetFault(func(faultfs.Op) *faultfs.Fault {
				if calls++; calls >= stop {
					return &faultfs.Fault{Err: faultfs.ErrPower, Short: rng.IntN(300)}
				}
				return nil
			})
			small := func(set *file.Settings) { set.MaxBytes, set.Keep = 6000, 1000 }
			x := run(t, s, d, small)
			var n uint64
			for range 30 {
				add(t, s, &n, 1)
				synctest.Wait()
			}
			x.stop()
			if calls < stop {
				whole++
			}
			sd, d = sd.Kill(), d.Crash(rng)
			_ = s.Close()
			s = openSpool(t, sd)
			x = run(t, s, d, small)
			add(t, s, &n, 5)
			x.drain()
			var all []uint64
			for _, f := range must(d.Names()) {
				if strings.HasPrefix(f, "out.0") {
					all = append(all, numbers(t, d.Get(f))...)
				}
			}
			all = append(all, numbers(t, d.Get("out"))...)
			if err := inOrder(all, 1, n); err != nil {
				t.Fatalf("stop %d: %v\n%s", stop, err, x.log)
			}
			_ = s.Close()
		})
	}
	if whole > 20 {
		t.Errorf("%d runs met no fault", whole)
	}
}

// TestFullDisk: it waits, for hours, counts what waits, and goes on when there
// is room. Nothing is torn and nothing is there twice.
func TestFullDisk(t *testing.T) {
	for _, fault := range []error{syscall.ENOSPC, syscall.EIO} {
		synctest.Test(t, func(t *testing.T) {
			d := faultfs.New()
			s := openSpool(t, faultfs.New())
			var n uint64
			x := run(t, s, d)
			add(t, s, &n, 10)
			synctest.Wait()
			kind := "write"
			if fault == syscall.EIO {
				kind = "sync"
			}
			d.SetFault(func(op faultfs.Op) *faultfs.Fault {
				if op.Kind == kind && op.Name == "out" {
					return &faultfs.Fault{Err: fault, Short: 100}
				}
				return nil
			})
			add(t, s, &n, 10)
			time.Sleep(time.Hour)
			synctest.Wait()
			st := x.State()
			if st.GetConnected() || !strings.Contains(st.GetError(), fault.Error()) || st.GetBacklogBytes() == 0 {
				t.Errorf("%v", st)
			}
			if lines := strings.Count(x.log.String(), "Could not write"); lines < 2 || lines > 62 {
				t.Errorf("%d lines in an hour", lines)
			}
			d.SetFault(nil)
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if st := x.State(); !st.GetConnected() || st.GetError() != "" || st.GetBacklogBytes() != 0 {
				t.Errorf("%v", st)
			}
			if err := inOrder(numbers(t, d.Get("out")), 1, n); err != nil {
				t.Error(err)
			}
			x.stop()
			_ = s.Close()
		})
	}
}

// TestSomebodyElsesFile: what is there and not ours stays.
func TestSomebodyElsesFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := faultfs.New()
		d.Put("out", []byte("somebody's line"))
		s := openSpool(t, faultfs.New())
		var n uint64
		add(t, s, &n, 3)
		x := run(t, s, d)
		x.drain()
		rest, ok := bytes.CutPrefix(d.Get("out"), []byte("somebody's line\n"))
		if err := inOrder(numbers(t, rest), 1, n); !ok || err != nil {
			t.Errorf("%v: %s", err, d.Get("out"))
		}
		// It was replaced while nobody looked.
		d.Put("out", bytes.Repeat([]byte("other\n"), 1000))
		x = run(t, s, d)
		add(t, s, &n, 3)
		x.drain()
		rest, ok = bytes.CutPrefix(d.Get("out"), bytes.Repeat([]byte("other\n"), 1000))
		if err := inOrder(numbers(t, rest), n-3*each+1, n); !ok || err != nil {
			t.Errorf("%v: %s", err, rest)
		}
		if !strings.Contains(x.log.String(), "somebody else has changed the file") {
			t.Error(x.log)
		}
		_ = s.Close()
	})
}

// TestTwoWriters: the second is refused for as long as the first is there.
func TestTwoWriters(t *testing.T) {
	dir := t.TempDir()
	onDisk := func(set *file.Settings) { set.Path, set.Dir = filepath.Join(dir, "out"), nil }
	open := func() *spool.Spool {
		s, err := spool.Open(filepath.Join(t.TempDir(), "spool"), options())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	var n uint64
	first, second := open(), open()
	add(t, first, &n, 1)
	x := run(t, first, nil, onDisk)
	deadline := time.Now().Add(10 * time.Second)
	for x.State().GetBacklogBytes() > 0 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	add(t, second, &n, 1)
	y := run(t, second, nil, onDisk)
	for y.State().GetError() == "" && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if got := y.State().GetError(); !strings.Contains(got, "in use") {
		t.Errorf("the second says %q", got)
	}
	y.stop()
	x.stop()
	b, err := os.ReadFile(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	if err := inOrder(numbers(t, b), 1, each); err != nil {
		t.Error(err)
	}
}

// TestRulesComeAndGo: somebody gives the rule of a filter another name again and
// again. The mark has room for so many names; the rest is counted in one.
func TestRulesComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, s := faultfs.New(), openSpool(t, faultfs.New())
		rules := filepath.Join(t.TempDir(), "rules")
		var n uint64
		var st *capturev1.DestinationState
		const rounds = 300
		for round := range rounds {
			line := fmt.Sprintf("rule_%03d_%s: path:/x/1\n", round, strings.Repeat("x", 55))
			if err := os.WriteFile(rules, []byte(line), 0o600); err != nil {
				t.Fatal(err)
			}
			f := must(filter.Load(rules))
			add(t, s, &n, 1)
			x := run(t, s, d, func(set *file.Settings) { set.Filter = f })
			x.drain()
			if st = x.State(); st.GetError() != "" {
				t.Fatalf("round %d: %v", round, st.GetError())
			}
		}
		var sum uint64
		for _, k := range st.GetFiltered() {
			sum += k
		}
		if len(st.GetFiltered()) > 150 || sum != rounds || st.GetFiltered()["other"] < rounds/2 {
			t.Errorf("%d names, %d pairs, %d of other rules", len(st.GetFiltered()), sum, st.GetFiltered()["other"])
		}
		if got := numbers(t, d.Get("out")); len(got) != rounds*(each-1) {
			t.Errorf("%d pairs are in the file", len(got))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestOtherSpool: the mark is of a spool that is no more; what the new one has
// goes behind what is there.
func TestOtherSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := faultfs.New()
		var n uint64
		for round := range 3 {
			s := openSpool(t, faultfs.New())
			x := run(t, s, d)
			add(t, s, &n, 4)
			x.drain()
			if err := inOrder(numbers(t, d.Get("out")), 1, n); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(x.log.String(), "another spool") != (round > 0) {
				t.Errorf("round %d: %s", round, x.log)
			}
			if err := s.Close(); err != nil && !errors.Is(err, seglog.ErrClosed) {
				t.Fatal(err)
			}
		}
	})
}
