package fault

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/weir-capture/weir/e2e/canary"
	"github.com/weir-capture/weir/e2e/harness"
	"github.com/weir-capture/weir/e2e/ledger"
)

// canaries are the secrets that go along with every load, and the search for
// them in what the programs leave: on their disks while the fault is there, in
// what the API tells after it, and in what they print when they die. So S02
// holds in every fault there is a test of.
type canaries struct {
	addr   string
	hunter *canary.Hunter
	// all are requests to make, in a random order, one for each secret in each
	// place; next is the number of those made.
	all  []*canary.Request
	next atomic.Uint64
	// looked is when the disks were last looked at.
	looked time.Time
	// off: a forwarder does not redact. quiet: the disks are looked at when
	// nothing is measured any more.
	off, quiet bool
}

// canaryPath is what the path of each begins with.
const canaryPath = "/canary/"

func newCanaries(t *testing.T, addr string, rng *mathrand.Rand) *canaries {
	c := &canaries{addr: addr, looked: time.Now()}
	secrets := canary.Secrets(rng.Uint64())
	c.hunter = canary.NewHunter(t, secrets)
	for _, p := range canary.Places() {
		if p.Refused {
			continue // nobody could say of it whether it arrived
		}
		for _, s := range secrets {
			if r := p.Of(s); r != nil {
				c.all = append(c.all, r)
			}
		}
	}
	rng.Shuffle(len(c.all), func(i, j int) { c.all[i], c.all[j] = c.all[j], c.all[i] })
	return c
}

// send makes requests with secrets until ctx ends.
func (c *canaries) send(ctx context.Context, book *ledger.Book) {
	if c.off {
		return
	}
	tick := time.NewTicker(scale(40*time.Millisecond, 15*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c.one(book)
	}
}

func (c *canaries) one(book *ledger.Book) {
	e := ledger.Entry{Redacted: true, Status: 200}
	_, _ = rand.Read(e.ID[:]) // never fails
	id := hex.EncodeToString(e.ID[:])
	r := *c.all[(c.next.Add(1)-1)%uint64(len(c.all))]
	r.Target = canaryPath + id + r.Target
	r.Fields = append([]string{ledger.Header + ": " + id}, r.Fields...)
	e.Out = ledger.SumOf(r.Body)
	e.Sent = time.Now().UnixNano()
	// Longer than any program is stopped.
	answer, err := canary.Send(c.addr, &r, 2*time.Minute)
	e.Done = time.Now().UnixNano()
	switch {
	case refused(err):
		e.Outcome = ledger.Refused
	case err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")):
		e.Outcome = ledger.Failed
		if err == nil {
			err = fmt.Errorf("a canary was answered with %.60q", answer)
		}
	}
	book.Add(e, err)
}

// disks looks at all files of all programs of this test, at most every few
// seconds.
func (r *rig) disks(every time.Duration) {
	r.t.Helper()
	if c := r.canaries; !c.off && time.Since(c.looked) >= every {
		// All folders of a test are in one.
		c.hunter.Dir(filepath.Dir(r.Dir))
		c.looked = time.Now()
	}
}

// sweep asks the API for the canaries in every way, and arranges that what is
// left at the end of the test is looked at.
func (r *rig) sweep() {
	r.t.Helper()
	c := r.canaries
	if c.off {
		return
	}
	for _, u := range []string{"/metrics", "/api/v1/proxies", "/api/v1/forwarders", "/api/v1/ledger", "/api/v1/doctor", "/api/v1/stats/facets", "/api/v1/stats/endpoints"} {
		c.hunter.Get(r.api.URL + u)
	}
	const which = "q=path:" + canaryPath + "*"
	for _, format := range []string{"har", "jsonl", "curl", "rrpair", "csv"} {
		c.hunter.Get(r.api.URL + "/api/v1/export?format=" + format + "&" + which)
	}
	p, err := r.api.Page(r.t.Context(), "path:"+canaryPath+"*", "", scale(20, 100))
	if err != nil {
		r.t.Fatal(err)
	}
	if len(p.Pairs) == 0 {
		r.t.Error("no canary was stored: there is nothing to find")
	}
	ids := make([]string, len(p.Pairs))
	for i, row := range p.Pairs {
		ids[i] = row.ID
	}
	for _, u := range canary.PairURLs(ids) {
		c.hunter.Get(r.api.URL + u)
	}
	r.disks(0)
	if r.autopsied {
		return
	}
	r.autopsied = true
	r.t.Cleanup(func() {
		for _, p := range []*harness.Proc{r.Proxy, r.Forwarder, r.Analyzer} {
			if p != nil && p.Running() {
				p.Signal(syscall.SIGABRT)
				p.Wait(20 * time.Second)
			}
		}
		r.disks(0)
		h := c.hunter
		r.t.Logf("canaries: %d requests, of %d there are; %d answers and %d files with %d packed frames and %d MiB looked through: %d hits",
			c.next.Load(), len(c.all), h.Answers, h.Files, h.Frames, h.Bytes>>20, h.Hits)
		if h.Frames == 0 {
			r.t.Error("no packed frame was found in any file: nothing was looked into")
		}
	})
}

// refused tells whether no connection could be made.
func refused(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}
