//go:build failpoints

package forwarder_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/weir-capture/weir/internal/failpoint"
)

// TestR13FailPoints kills the forwarder exactly where it hurts: at each place
// of its spool that such a load reaches, early and late.
func TestR13FailPoints(t *testing.T) {
	for _, point := range []string{
		failpoint.SpoolAfterWrite, failpoint.SpoolAfterFsync, failpoint.SpoolAfterAck, failpoint.SpoolAfterCursorFsync,
	} {
		t.Run(point, func(t *testing.T) {
			a := newAnalyzer(t)
			a.start()
			program := newProgram(t, a.addr)
			p, q := newProxy(1), newProxy(2)
			p.start(t, program.addr)
			q.start(t, program.addr)
			for _, count := range []int{1, 2, 7} {
				program.start(fmt.Sprintf("FAILPOINTS=%s=kill@%d", point, count))
				killed := false
				for deadline := time.Now().Add(20 * time.Second); !killed; {
					p.make(20)
					q.make(20)
					select {
					case err := <-program.ended:
						if err == nil || err.Error() != "signal: killed" {
							t.Fatalf("%v\n%s", err, program.log)
						}
						killed, program.cmd = true, nil
					case <-time.After(20 * time.Millisecond):
						if time.Now().After(deadline) {
							t.Fatalf("never killed at %s, time %d\n%s", point, count, program.log)
						}
					}
				}
			}
			program.start()
			for _, x := range []*proxy{p, q} {
				poll(t, "acknowledgements", x.waiting)
			}
			poll(t, "everything", func() error { return a.stored(all(p, q)) })
			program.terminate()
			a.mu.Lock()
			defer a.mu.Unlock()
			t.Logf("%d batches stored once, %d connections of the forwarder", len(a.batches), a.hellos)
		})
	}
}
