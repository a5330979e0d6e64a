package forwarder_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// afterKill is a spool as a kill leaves it, with the last byte of its last
// record changed. proxies are those that have sent into it.
func afterKill(t *testing.T, analyzer string, proxies ...*proxy) (dir string) {
	t.Helper()
	cfg := config(t, analyzer)
	r := run(t, cfg)
	for _, p := range proxies { // one after another: the last is the last one's
		stop := p.start(t, r.addr())
		poll(t, "acknowledgements", p.waiting)
		stop()
	}
	dir = filepath.Join(t.TempDir(), "spool")
	if err := os.CopyFS(dir, os.DirFS(cfg.SpoolDir)); err != nil {
		t.Fatal(err)
	}
	r.stop()
	segments, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("segments %v, %v", segments, err)
	}
	newest := slices.Max(segments)
	b, err := os.ReadFile(newest)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	if err := os.WriteFile(newest, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestR18LastRecordOfAKilledSpool: nobody can tell whether the last record of
// a spool that was not closed is damaged or was never finished. It is declared
// lost, and is not taken for one that is here: who still has it brings it.
func TestR18LastRecordOfAKilledSpool(t *testing.T) {
	a := newAnalyzer(t) // away
	p, q := newProxy(1), newProxy(2)
	p.make(20)
	q.make(20)
	dir := afterKill(t, a.addr, p, q)
	sums := func(stored, declared uint64) func() error {
		return func() error {
			if s, d := a.sums(); s != stored || d != declared {
				return fmt.Errorf("%d pairs stored, %d declared lost", s, d)
			}
			return nil
		}
	}
	const each, sent = 3, 2 * 20 * 3
	cfg := config(t, a.addr)
	cfg.SpoolDir = dir
	// The second start finds what the first has declared.
	run(t, cfg).stop()
	r := run(t, cfg)
	a.start()
	poll(t, "the rest, and the declaration", sums(sent-each, each))
	if n := strings.Count(r.log.String(), "spool_damaged"); n != 0 {
		t.Errorf("it is declared again:\n%s", r.log)
	}
	// It was never acknowledged, for all that the proxy knows.
	again := newProxy(2)
	again.make(20)
	again.start(t, r.addr())
	poll(t, "acknowledgements", again.waiting)
	poll(t, "everything", sums(sent, 0))
	if again.acked != 20 {
		t.Error(errors.New("the last batch is not acknowledged"))
	}
	r.stop()
	if err := a.stored(all(p, q)); err != nil {
		t.Error(err)
	}
}
