package forwarder_test

import (
	"encoding/hex"
	"fmt"
	"os"
	"testing"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// TestR33SpoolOfTheReleaseBefore opens what the forwarder of format 0 left
// behind: two proxies, whose first batches an analyzer had taken before it went
// away. The rest goes there, once, and the proxies go on where they were.
func TestR33SpoolOfTheReleaseBefore(t *testing.T) {
	const (
		id   = "c37fab286a7a7827a85332cb787e83c0"
		next = 1578 // what the analyzer had taken
	)
	for _, known := range []bool{true, false} {
		t.Run(fmt.Sprintf("analyzer knows it %v", known), func(t *testing.T) {
			a := newAnalyzer(t)
			cfg := config(t, a.addr)
			if err := os.CopyFS(cfg.SpoolDir, os.DirFS("testdata/spool-v0")); err != nil {
				t.Fatal(err)
			}
			p, q := newProxy(1), newProxy(2)
			p.made, q.made = 5, 2
			if known {
				spool, err := hex.DecodeString(id)
				if err != nil {
					t.Fatal(err)
				}
				a.next[string(spool)] = next
				for b := range all(p, q) {
					a.batches[b], a.spools[b] = 1, string(spool)
				}
			}
			f := run(t, cfg)
			a.start()
			p.made, q.made = 9, 5
			poll(t, "what waited", func() error { return a.stored(all(p, q)) })
			if a.skipped > 0 {
				t.Errorf("%d frames came twice", a.skipped)
			}
			// Their acknowledgements were lost, and they are of the release
			// before too.
			p.made, q.made = 0, 0
			p.make(12)
			q.make(6)
			p.start(t, f.addr())
			q.start(t, f.addr())
			poll(t, "acknowledgements", func() error {
				if err := p.waiting(); err != nil {
					return err
				}
				return q.waiting()
			})
			poll(t, "everything", func() error { return a.stored(all(p, q)) })
			poll(t, "a status", func() error {
				list := a.lastStatus().GetProxies()
				if len(list) != 2 || list[0].GetState() != capturev1.ProxyStatus_STATE_CONNECTED {
					return fmt.Errorf("%v", list)
				}
				return nil
			})
		})
	}
}
