package segstore_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/segstore"
	"github.com/weir-capture/weir/analyzer/store/storetest"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/failpoint"
)

// childDir names the data directory of the child process that is killed;
// childRetains, when set, makes it keep as little as it can.
const (
	childDir     = "SEGSTORE_TEST_CHILD_DIR"
	childRetains = "SEGSTORE_TEST_CHILD_RETAINS"
	// childDeletes makes it delete what is marked, and nothing else.
	childDeletes = "SEGSTORE_TEST_CHILD_DELETES"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		do := child
		if os.Getenv(childDeletes) != "" {
			do = deletingChild
		}
		if err := do(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

const (
	killPairs = 5       // of a frame
	killStep  = 1 << 20 // of offsets, so that they do not depend on lengths
)

// child appends frames for ever and says how many are acknowledged.
func child(dir string) error {
	opt := killOptions(dir, slog.New(slog.DiscardHandler))
	body := 0
	if os.Getenv(childRetains) != "" {
		opt.RetentionBytes, opt.RetainEvery = 1, time.Millisecond // segments of 1 MiB
		body = 100 << 10
	}
	s, err := segstore.Open(opt, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	go func() { _ = s.Run(context.Background()) }()
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	have := s.Have(f.Spool)
	top := have.Next
	for _, r := range have.Ranges {
		top = r.To
	}
	rng := rand.NewChaCha8([32]byte{})
	for n := uint64(0); ; n++ {
		f.Offset = n * killStep
		pairs := storetest.Pairs(n*killPairs, (n+1)*killPairs)
		pairs[0].Request.Body = make([]byte, body)
		_, _ = rng.Read(pairs[0].GetRequest().GetBody()) // never fails
		fr := f.Frame(pairs...)
		if fr.GetOffset() >= top {
			if err := s.Append(context.Background(), f.Spool, []*capturev1.Frame{fr}); err != nil {
				return err
			}
		}
		fmt.Println(n + 1)
	}
}

func killOptions(dir string, log *slog.Logger) segstore.Options {
	// Small, so that a kill also hits segments that begin and end and rows on
	// their way into the index.
	return segstore.Options{Dir: dir, OpenIndex: openIndex(log), SegmentBytes: 64 << 10, IndexDelay: 10 * time.Millisecond, IndexRows: 200, Master: testMaster()}
}

// failing is a build of these tests in which fail points work.
func failing(t *testing.T) string {
	t.Helper()
	if failpoint.Enabled {
		return os.Args[0]
	}
	path := filepath.Join(t.TempDir(), "failing.test")
	if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-tags", "failpoints", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("build with fail points: %v\n%s", err, out)
	}
	return path
}

// runChild runs the child until it is killed, by points or, where there are
// none, after a while, and gives how many frames were acknowledged.
func runChild(t *testing.T, program, points string, after time.Duration, env ...string) (acked uint64) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = append(append(os.Environ(), "FAILPOINTS="+points), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if n, err := strconv.ParseUint(lines.Text(), 10, 64); err == nil {
			acked = n
		}
	}
	dueByPoint := timer.Stop()
	if err := cmd.Wait(); cmd.ProcessState.Exited() {
		t.Fatalf("%q: the child ended by itself: %v", points, err)
	}
	if points != "" && !dueByPoint {
		t.Fatalf("%q: the fail point was not reached", points)
	}
	return acked
}

// facets counts pairs by what people ask for.
func facets(pairs []*capturev1.RRPair) map[string]int {
	counts := map[string]int{}
	for _, p := range pairs {
		counts["app "+p.GetSource().GetApp()]++
		counts["method "+p.GetMethod()]++
		counts["class "+strconv.Itoa(store.StatusClass(p.GetStatus()))]++
	}
	return counts
}

// sameAsLog says that lists, counts and single pairs are what a full scan of
// the log has.
func sameAsLog(t *testing.T, s *running) error {
	t.Helper()
	scan, err := s.Everything()
	if err != nil {
		return err
	}
	want := facets(scan)
	for _, whole := range []bool{false, true} {
		var list []*capturev1.RRPair
		for _, st := range storetest.All(t, s, store.List{Whole: whole}) {
			list = append(list, st.Pair)
		}
		if got := facets(list); !maps.Equal(got, want) {
			return fmt.Errorf("list of %d, whole %v: counts %v, the log has %d: %v", len(list), whole, got, len(scan), want)
		}
	}
	b, err := s.Histogram(t.Context(), store.Histogram{Buckets: 10})
	if err != nil {
		return err
	}
	var classes [6]int
	for _, c := range b.Counts {
		for class, n := range c {
			classes[class] += int(n)
		}
	}
	for class, n := range classes {
		if n != want["class "+strconv.Itoa(class)] {
			return fmt.Errorf("histogram: status class %d has %d pairs, the log %d", class, n, want["class "+strconv.Itoa(class)])
		}
	}
	for i := 0; i < len(scan); i += 1 + len(scan)/50 {
		if _, err := s.Pair(t.Context(), store.ID(scan[i].GetId())); err != nil {
			return fmt.Errorf("pair %d of the log: %w", i, err)
		}
	}
	return nil
}

func TestR14Kill(t *testing.T) {
	program := failing(t)
	t.Run("Anywhere", func(t *testing.T) { killAnywhere(t, program) })
	t.Run("WhileOldDataGoes", func(t *testing.T) { killWhileOldDataGoes(t, program) })
}

// kill -9 at any time and at each fail point: nothing that was acknowledged is
// missing, nothing is there twice, and the index says the same as the log.
func killAnywhere(t *testing.T, program string) {
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(11, 11))
	var total uint64
	check := func(round string) {
		t.Helper()
		s := start(t, killOptions(dir, testLog(t)))
		defer s.close(t)
		if err := upTo(storetest.All(t, s, store.List{}), total*killPairs); err != nil {
			t.Errorf("%s: index: %v", round, err)
		}
		if err := sameAsLog(t, s); err != nil {
			t.Errorf("%s: %v", round, err)
		}
	}
	for round, points := range []string{
		"", failpoint.StoreAfterSegment, failpoint.StoreAfterIndexRename, "", failpoint.StoreAfterSegment,
		"new index", "", failpoint.StoreAfterSegment, "",
	} {
		name := fmt.Sprintf("round %d, %s", round, points)
		spec := ""
		switch points {
		case failpoint.StoreAfterSegment:
			spec = fmt.Sprintf("%s=kill@%d", points, 1+rng.IntN(60))
		case "new index":
			if err := os.RemoveAll(filepath.Join(dir, "index")); err != nil {
				t.Fatal(err)
			}
			spec = failpoint.StoreAfterIndexRename + "=kill"
		case failpoint.StoreAfterIndexRename:
			spec = points + "=kill"
		}
		after := time.Duration(50+rng.IntN(250)) * time.Millisecond
		if spec != "" {
			after = 20 * time.Second
		}
		total = max(total, runChild(t, program, spec, after, childDir+"="+dir))
		check(name)
	}
	t.Logf("%d frames of %d pairs acknowledged", total, killPairs)
	if total == 0 {
		t.Error("nothing was acknowledged: the test did not test")
	}
}

// A kill between a segment's end and that of its rows.
func killWhileOldDataGoes(t *testing.T, program string) {
	dir := t.TempDir()
	acked := runChild(t, program, failpoint.StoreMidCompaction+"=kill@2", 30*time.Second, childDir+"="+dir, childRetains+"=1")
	s := start(t, killOptions(dir, testLog(t)))
	if err := sameAsLog(t, s); err != nil {
		t.Error(err)
	}
	got := storetest.Numbers(storetest.All(t, s, store.List{}))
	slices.Sort(got)
	// What is left is the newest, without a hole.
	if len(got) == 0 || got[0] == 0 || got[len(got)-1] < acked*killPairs-1 || got[len(got)-1]-got[0] != uint64(len(got)-1) {
		t.Errorf("%d acknowledged; left are %d pairs: %v", acked, len(got), got)
	}
}
