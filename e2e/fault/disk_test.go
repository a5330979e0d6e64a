package fault

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-capture/weir/e2e/harness"
	"github.com/weir-capture/weir/e2e/ledger"
)

// tmpfs is a disk of 64 MiB. Where this machine has none to give, the test
// says so and fails, unless the user allows things to be missing.
func tmpfs(t *testing.T) string {
	t.Helper()
	dir, err := harness.Tmpfs(t, 64<<20)
	if err == nil {
		return dir
	}
	msg := fmt.Sprintf("no disk to fill: %v; what is left are the tests of spool and store on the fault file system", err)
	// Only root may mount, and make test is for everybody; make fault is not.
	if full || os.Geteuid() == 0 && !harness.AllowMissing() {
		t.Fatal(msg + "; run as root, or set ALLOW_MISSING=1")
	}
	fmt.Fprintf(os.Stderr, "e2e/fault: LEFT OUT: %s: %s\n", t.Name(), msg)
	t.Skip(msg)
	return ""
}

// free is the room on a disk in bytes.
func free(t *testing.T, dir string) int64 {
	t.Helper()
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		t.Fatalf("read room of %s: %v", dir, err)
	}
	return int64(s.Bavail) * int64(s.Bsize)
}

// fill leaves so many bytes of a disk free. What it returns gives the room
// back.
func fill(t *testing.T, dir string, leave int64) (empty func()) {
	t.Helper()
	file := filepath.Join(dir, "filler")
	f, err := os.Create(file)
	if err != nil {
		t.Fatalf("fill disk: %v", err)
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for n := free(t, dir) - leave; n > 0; n -= int64(len(block)) {
		if _, err := f.Write(block[:min(n, int64(len(block)))]); err != nil {
			t.Fatalf("fill disk: %v", err)
		}
	}
	return func() {
		if err := os.Remove(file); err != nil {
			t.Errorf("empty disk: %v", err)
		}
	}
}

// TestR19Spool: the disk below the spool becomes full, and the analyzer is
// away. The policy decides what is dropped, all of it is declared, and with
// room again (first some, then the analyzer's) everything goes on by itself.
func TestR19Spool(t *testing.T) {
	for _, policy := range []string{"drop_newest", "drop_oldest"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, scale(2*time.Minute, 4*time.Minute))
			disk := tmpfs(t)
			empty := fill(t, disk, 32<<20)
			r.ForwarderEnv["SPOOL_DIR"] = filepath.Join(disk, "spool")
			r.ForwarderEnv["SPOOL_WHEN_FULL"] = policy
			// The disk is full long before this is reached.
			r.ForwarderEnv["SPOOL_MAX_BYTES"] = "1GiB"
			r.StartForwarder()
			r.StartProxy()
			r.WaitRegistered()
			load := r.load(200)
			load.Response, load.Request, load.AbortEvery = 128<<10, 128<<10, 0
			stop := load.Background(t, r.book)
			harness.Poll(t, time.Minute, "a full disk", func() error {
				if n := free(t, disk); n > 3<<20 {
					return fmt.Errorf("%d bytes are free", n)
				}
				return nil
			})
			r.pause(scale(3*time.Second, 15*time.Second))
			stop()
			empty()
			// What comes from now on is little enough for the disk.
			load = r.load(50)
			load.AbortEvery = 0
			stop = load.Background(t, r.book)
			r.StartAnalyzer()
			r.pause(3 * time.Second)
			again := time.Now()
			r.pause(2 * time.Second)
			stop()
			r.settle(time.Minute)
			r.noErrors()
			a := r.account(ledger.Rules{})
			if a.Dropped()["forwarder/spool_full"] == 0 {
				t.Error("nothing was dropped: the test did not fill the spool")
			}
			for reason, n := range a.Dropped() {
				if n > 0 && reason != "forwarder/spool_full" && reason != "proxy/memory" {
					t.Errorf("%d were dropped as %s", n, reason)
				}
			}
			if n := len(a.MissingAt); n > 0 && a.MissingAt[n-1] > again.UnixNano() {
				t.Errorf("more than 3 s after there was room again pairs are still dropped: %v", time.Unix(0, a.MissingAt[n-1]))
			}
			r.exactly(a)
			r.inGaps(a)
			r.report("R19 disk full under the spool, "+policy, a, "64 MiB tmpfs; went on without a restart")
		})
	}
}

// exactly fails the test unless what is missing is what was declared. It is
// for loads that break nothing off: of such a request nobody knows whether it
// was seen.
func (r *rig) exactly(a *ledger.Account) {
	r.t.Helper()
	if a.Missing != a.Declared() {
		r.t.Errorf("%d requests are missing, and %d were declared", a.Missing, a.Declared())
	}
}

// TestR19Store: the disk below the store becomes full. The spool keeps what
// the store can't take, what is stored can be read all the time, and with room
// again everything goes on by itself. Nothing is dropped.
func TestR19Store(t *testing.T) {
	t.Parallel()
	r := newRig(t, scale(2*time.Minute, 4*time.Minute))
	disk := tmpfs(t)
	r.AnalyzerEnv["DATA_DIR"] = filepath.Join(disk, "data")
	r.StartAll()
	empty := fill(t, disk, 20<<20)
	load := r.load(150)
	load.Response, load.Request = 128<<10, 128<<10
	stop := load.Background(t, r.book)
	harness.Poll(t, time.Minute, "a full disk", func() error {
		if n := free(t, disk); n > 1<<20 {
			return fmt.Errorf("%d bytes are free", n)
		}
		return nil
	})
	stop()
	// What still comes is little, so that the room in the end is enough for it.
	stop = r.load(50).Background(t, r.book)
	r.pause(scale(2*time.Second, 10*time.Second))
	if _, err := r.api.Page(t.Context(), "", "", 10); err != nil {
		t.Errorf("with a full disk the list can't be read: %v", err)
	}
	stop()
	if !r.Analyzer.Running() {
		t.Fatalf("the analyzer ended:\n%s", r.Analyzer.Log())
	}
	empty()
	r.settle(time.Minute)
	r.noErrors()
	a := r.account(ledger.Rules{})
	if a.Declared() > 0 || a.Missing > 0 {
		t.Errorf("%d are missing, %v were dropped", a.Missing, a.Dropped())
	}
	r.report("R19 disk full under the store", a, "64 MiB tmpfs; went on without a restart")
}

// flips turns over n bits in the files that match, each in another n-th part
// of their bytes, and returns where.
func (r *rig) flips(dir string, n int, match func(name string) bool) (where []string) {
	r.t.Helper()
	type file struct {
		path string
		size int64
	}
	var files []file
	var total int64
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !match(d.Name()) {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() > 0 {
			files = append(files, file{path, info.Size()})
			total += info.Size()
		}
		return err
	})
	if err != nil || total < int64(n) {
		r.t.Fatalf("find bits to flip: %d bytes in %s, %v", total, dir, err)
	}
	part := total / int64(n)
	for i := range int64(n) {
		at := i*part + r.rng.Int64N(part)
		for _, f := range files {
			if at >= f.size {
				at -= f.size
				continue
			}
			bit := byte(1) << r.rng.IntN(8)
			flip(r.t, f.path, at, bit)
			where = append(where, fmt.Sprintf("%s+%d bit %#x", filepath.Base(f.path), at, bit))
			break
		}
	}
	return where
}

func flip(t *testing.T, path string, at int64, bit byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatalf("flip a bit: %v", err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatalf("flip a bit: %v", err)
	}
	b[0] ^= bit
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatalf("flip a bit: %v", err)
	}
}

// TestR18: single bits of the spool's segments turn over while the forwarder
// is stopped. Each costs one record at most, whose pairs are declared exactly.
func TestR18(t *testing.T) {
	long(t)
	t.Parallel()
	r := newRig(t, 10*time.Minute)
	r.StartAnalyzer()
	const rounds, each = 20, 50
	load := r.load(800)
	load.Response, load.Request, load.AbortEvery = 1<<10, 1<<10, 0
	flipped := 0
	for range rounds {
		// A spool without its analyzer fills; then it rots; then it is drained.
		r.ForwarderEnv["ANALYZER_ADDR"] = harness.Addr(harness.Port(t))
		r.StartForwarder()
		if r.Proxy == nil {
			r.StartProxy()
			r.WaitRegistered()
		}
		stop := load.Background(t, r.book)
		r.pause(4 * time.Second)
		stop()
		r.pause(500 * time.Millisecond)
		if code := r.Forwarder.Stop(20 * time.Second); code != 0 {
			t.Fatalf("the forwarder ended with status %d:\n%s", code, r.Forwarder.Log())
		}
		where := r.flips(r.spoolDir(), each, isSegment)
		flipped += len(where)
		r.ForwarderEnv["ANALYZER_ADDR"] = harness.Addr(r.IngestPort)
		r.StartForwarder()
		r.settle(time.Minute)
		if code := r.Forwarder.Stop(20 * time.Second); code != 0 {
			t.Fatalf("the forwarder ended with status %d:\n%s", code, r.Forwarder.Log())
		}
	}
	r.StartForwarder()
	r.settle(time.Minute)
	r.noErrors()
	a := r.account(ledger.Rules{})
	r.exactly(a)
	r.inGaps(a)
	damaged := a.Dropped()["forwarder/spool_damaged"]
	if damaged == 0 || damaged != a.Declared() {
		t.Errorf("declared were %v", a.Dropped())
	}
	// At most 64 pairs in a record, and one record for a bit.
	if damaged > uint64(flipped)*64 {
		t.Errorf("%d bits cost %d pairs", flipped, damaged)
	}
	r.report(fmt.Sprintf("R18 %d single bits flipped in the spool's segments", flipped), a, "%.1f pairs a bit", float64(damaged)/float64(flipped))
}

// isSegment tells the files of the log from those beside it.
func isSegment(name string) bool { return strings.HasSuffix(name, ".seg") }

// TestR18Beside: a bit in each of the small files beside the segments.
func TestR18Beside(t *testing.T) {
	long(t)
	t.Parallel()
	r := newRig(t, 5*time.Minute)
	r.StartAll()
	load := r.load(200)
	flipped := map[string]int{}
	for range 20 {
		stop := load.Background(t, r.book)
		r.pause(300 * time.Millisecond)
		stop()
		if code := r.Forwarder.Stop(20 * time.Second); code != 0 {
			t.Fatalf("the forwarder ended with status %d:\n%s", code, r.Forwarder.Log())
		}
		files := r.besides(r.spoolDir())
		if len(files) == 0 {
			t.Fatal("the spool has no file beside its segments")
		}
		name := files[r.rng.IntN(len(files))]
		r.flips(r.spoolDir(), 1, func(n string) bool { return n == name })
		flipped[name]++
		r.StartForwarder()
	}
	r.settle(time.Minute)
	r.noErrors()
	a := r.account(ledger.Rules{})
	if a.Missing > 0 {
		t.Errorf("%d are missing", a.Missing)
	}
	r.report("R18 20 single bits flipped in the files beside the segments", a, "%s", counts(flipped))
}

// besides are the names of the small files below a directory.
func (r *rig) besides(dir string) (names []string) {
	r.t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || isSegment(d.Name()) {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() > 0 && info.Size() < 1<<20 {
			names = append(names, d.Name())
		}
		return err
	})
	if err != nil {
		r.t.Fatalf("list the spool: %v", err)
	}
	return names
}

var injected = regexp.MustCompile(`EIO .*\(INJECTED\)`)

// TestR20: the disk refuses an fsync (EIO), once in each thread, for the
// forwarder and for the analyzer. What that fsync was for is written again
// elsewhere; it is never taken for durable, and nobody starts again.
func TestR20(t *testing.T) {
	long(t)
	harness.Need(t, "strace")
	for _, victim := range []string{"forwarder", "analyzer"} {
		t.Run(victim, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 3*time.Minute)
			r.StartAll()
			trace := r.state(victim + ".strace")
			p := map[string]*harness.Proc{"forwarder": r.Forwarder, "analyzer": r.Analyzer}[victim]
			// Every eighth fsync of each thread, from its third on.
			tracer := harness.Start(t, r.Dir, "strace-"+victim, harness.LookPath(t, "strace"), nil, "-f", "-p", fmt.Sprint(p.PID()), "-o", trace,
				"-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO:when=3+8")
			stop := r.load(100).Background(t, r.book)
			var times int
			harness.Poll(t, 90*time.Second, "ten refused fsyncs", func() error {
				data, err := os.ReadFile(trace)
				if times = len(injected.FindAll(data, -1)); err == nil && times < 10 {
					err = fmt.Errorf("%d", times)
				}
				return err
			})
			r.pause(time.Second)
			tracer.Stop(20 * time.Second) // lets go of its process
			r.pause(time.Second)
			stop()
			r.settle(time.Minute)
			for _, p := range []*harness.Proc{r.Forwarder, r.Analyzer} {
				if !p.Running() {
					t.Errorf("%s ended:\n%s", p.Name, p.Log())
				}
			}
			r.noErrors()
			a := r.account(ledger.Rules{})
			r.report("R20 EIO on fsync of the "+victim, a, "%d refused, from each thread's third on; went on without a restart", times)
		})
	}
}
