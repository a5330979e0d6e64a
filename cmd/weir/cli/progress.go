package cli

import (
	"fmt"
	"io"
	"time"
)

// showEvery is how often long work says how far it is.
const showEvery = 200 * time.Millisecond

// progress is one line on a terminal that is written again and again. It is
// for one goroutine. Without a terminal it says nothing.
type progress struct {
	w     io.Writer
	what  string
	began time.Time
	last  time.Time
	shown bool
}

func newProgress(std IO, what string) *progress {
	p := &progress{what: what, began: time.Now()}
	if std.Progress {
		p.w = std.Err
	}
	return p
}

// bytes says how many are done, and of how many where that is known.
func (p *progress) bytes(done, of int64) {
	if p.w == nil || time.Since(p.last) < showEvery {
		return
	}
	p.last, p.shown = time.Now(), true
	total := ""
	if of > 0 {
		total = " of " + size(uint64(max(of, done)))
	}
	rate := ""
	if s := time.Since(p.began).Seconds(); s > 1 {
		rate = ", " + size(uint64(float64(done)/s)) + "/s"
	}
	fmt.Fprintf(p.w, "\r\x1b[K%s %s%s%s", p.what, size(uint64(max(done, 0))), total, rate)
}

// end takes the line away.
func (p *progress) end() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}

// countingWriter tells a progress what goes through it.
type countingWriter struct {
	w    io.Writer
	p    *progress
	done int64
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.done += int64(n)
	c.p.bytes(c.done, 0)
	return n, err
}

// countingReader tells a progress what goes through it, of a size that may be
// unknown (0).
type countingReader struct {
	r    io.Reader
	p    *progress
	done int64
	of   int64
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.done += int64(n)
	c.p.bytes(c.done, c.of)
	return n, err
}
