package main

import (
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/redact"
)

// redaction is what the standard rules cost for one pair, in this process, on
// one thread: there is nobody beside whom to measure it.
type redaction struct {
	title string
	pair  *capturev1.RRPair
	bytes int
	// cpu are µs of CPU for each pair, allocations how many it makes, by round.
	cpu, allocations []float64
	// must and aim bound cpu, most allocations.
	must, aim, most float64
}

// A core is to redact 20,000 pairs a second, better 60,000.
const (
	redactMust = 1e6 / 20_000
	redactAim  = 1e6 / 60_000
	// untouchedMost: under two allocations.
	untouchedMost = 1.99
)

func redactions() []*redaction {
	untouched, redacted := jsonPair(""), jsonPair(`"password":"correct horse battery staple",`)
	redacted.Request.Head = append(redacted.Request.Head[:len(redacted.Request.Head)-2], "Authorization: Bearer abcdefghijklmnop\r\n\r\n"...)
	return []*redaction{
		{title: "untouched", pair: untouched, bytes: size(untouched), must: redactMust, aim: redactAim, most: untouchedMost},
		{title: "with a password and a token", pair: redacted, bytes: size(redacted), must: redactMust, aim: none, most: none},
	}
}

// jsonPair has 2 KiB of JSON in its answer.
func jsonPair(first string) *capturev1.RRPair {
	var body strings.Builder
	body.WriteString("{" + first + `"items":[`)
	for i := 0; body.Len() < 1950; i++ {
		if i > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `{"id":%d,"name":"article %d","price":%d.99,"currency":"EUR","in_stock":true,"tags":["new","sale"]}`, i*7919, i, i*13%100)
	}
	body.WriteString("]}")
	return &capturev1.RRPair{
		Protocol: "http", Method: "GET", Path: "/api/v1/articles", Query: "page=2&sort=price", Host: "shop.example",
		Request: &capturev1.Message{Head: []byte("GET /api/v1/articles?page=2&sort=price HTTP/1.1\r\nHost: shop.example\r\n" +
			"User-Agent: Mozilla/5.0\r\nAccept: application/json\r\nAccept-Encoding: gzip\r\nX-Request-Id: 7f3a\r\n\r\n")},
		Response: &capturev1.Message{
			Head: []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Mon, 23 Nov 2026 10:00:00 GMT\r\nServer: demo\r\nCache-Control: no-store\r\n\r\n"),
			Body: []byte(body.String()), BodySize: uint64(body.Len()),
		},
	}
}

func size(p *capturev1.RRPair) int {
	return len(p.GetRequest().GetHead()) + len(p.GetResponse().GetHead()) + len(p.GetResponse().GetBody())
}

// redact measures redaction, round by round.
func (b *Bench) redact() error {
	set, ok := redact.Named(redact.Standard)
	if !ok {
		return fmt.Errorf("measure redaction: there is no rule set %q", redact.Standard)
	}
	r := redact.New(set, redact.RandomKeys())
	b.redactions = redactions()
	for range b.Rounds {
		for _, c := range b.redactions {
			if err := c.round(r, b.For/6); err != nil {
				return fmt.Errorf("measure redaction: %w", err)
			}
		}
	}
	return nil
}

// round takes its pairs in heaps: what makes the copies is not measured.
func (c *redaction) round(r *redact.Redactor, long time.Duration) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pairs := make([]*capturev1.RRPair, 512)
	n, allocations := 0, uint64(0)
	var cpu time.Duration
	for cpu < long {
		for i := range pairs {
			pairs[i] = proto.CloneOf(c.pair)
		}
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		from, err := threadTime()
		if err != nil {
			return err
		}
		for _, p := range pairs {
			if err := r.Redact(p); err != nil {
				return err
			}
		}
		to, err := threadTime()
		if err != nil {
			return err
		}
		runtime.ReadMemStats(&after)
		cpu += to - from
		allocations += after.Mallocs - before.Mallocs
		n += len(pairs)
	}
	c.cpu = append(c.cpu, float64(cpu.Nanoseconds())/1e3/float64(n))
	c.allocations = append(c.allocations, float64(allocations)/float64(n))
	return nil
}

// threadTime is what this thread had of a CPU.
func threadTime() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0, fmt.Errorf("read the thread's clock: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

// redactionRows are the lines of redaction among the goals.
func (b *Bench) redactionRows(add func(text string, value Interval, must, aim float64, format func(float64) string)) {
	for _, c := range b.redactions {
		add("redaction, 2 KiB of JSON "+c.title+", standard rules: CPU µs per pair", bootstrap(c.cpu), c.must, c.aim, micro)
		if !math.IsNaN(c.most) {
			add("redaction, 2 KiB of JSON "+c.title+": allocations per pair", bootstrap(c.allocations), c.most, none, plain)
		}
	}
}

func micro(v float64) string { return fmt.Sprintf("%.1f", v) }

// redactionTable prints what redaction costs.
func (b *Bench) redactionTable(o io.Writer) {
	if len(b.redactions) == 0 {
		return
	}
	fmt.Fprint(o, "\n## Redaction, 2 KiB of JSON, standard rules, one thread\n\n| | CPU µs per pair | to untouched | pairs/s per core | MB/s | allocations per pair |\n|---|---|---|---|---|---|\n")
	for _, c := range b.redactions {
		cpu, ratio := median(c.cpu), make([]float64, 0, len(c.cpu))
		for i, v := range c.cpu {
			ratio = append(ratio, v/b.redactions[0].cpu[i])
		}
		fmt.Fprintf(o, "| %s | %.1f | %s | %.0f | %.0f | %.1f |\n", c.title, cpu, show(bootstrap(ratio)), 1e6/cpu, float64(c.bytes)/cpu, median(c.allocations))
	}
}
