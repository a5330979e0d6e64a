package segstore_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/segstore"
	"github.com/weir-capture/weir/analyzer/store/storetest"
	"go.uber.org/goleak"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// childDir names the data directory of the child process that TestKill kills.
const childDir = "SEGSTORE_TEST_CHILD_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir); err != nil {
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
	s, err := segstore.Open(killOptions(dir, slog.New(slog.DiscardHandler)), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	go func() { _ = s.Run(context.Background()) }()
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	next := s.Have(f.Spool).Next
	for n := uint64(0); ; n++ {
		f.Offset = n * killStep
		fr := f.Frame(storetest.Pairs(n*killPairs, (n+1)*killPairs)...)
		if fr.GetOffset() >= next {
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
	return segstore.Options{Dir: dir, OpenIndex: openIndex(log), SegmentBytes: 64 << 10, IndexDelay: 10 * time.Millisecond, IndexRows: 200}
}

// kill -9 at any time: nothing that was acknowledged is missing, nothing is
// there twice, and the index says the same as the log.
func TestKill(t *testing.T) {
	rounds := 8
	if testing.Short() {
		rounds = 3
	}
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(11, 11))
	var total uint64
	for round := range rounds {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(150+rng.IntN(500))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		var acked uint64
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if n, err := strconv.ParseUint(lines.Text(), 10, 64); err == nil {
				acked = n
			}
		}
		timer.Stop()
		if err := cmd.Wait(); cmd.ProcessState.Exited() {
			t.Fatalf("round %d: the child ended by itself: %v", round, err)
		}
		total = max(total, acked)

		s := start(t, killOptions(dir, testLog(t)))
		if err := upTo(storetest.All(t, s, store.List{}), total*killPairs); err != nil {
			t.Errorf("round %d: index: %v", round, err)
		}
		if err := upTo(storetest.All(t, s, store.List{Whole: true}), total*killPairs); err != nil {
			t.Errorf("round %d: log: %v", round, err)
		}
		s.close(t)
	}
	t.Logf("%d frames of %d pairs acknowledged over %d kills", total, killPairs, rounds)
	if total == 0 {
		t.Error("nothing was acknowledged: the test did not test")
	}
}
