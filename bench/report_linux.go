package main

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"time"
)

// Report is the whole run as Markdown.
func (b *Bench) Report() string {
	var o strings.Builder
	layout := "the subject alone on one CPU, everything else on another"
	if !b.Pin {
		layout = "nothing pinned"
	}
	fmt.Fprintf(&o, "# What it costs\n\n%s, %s, %d CPUs (%s), %s; %d rounds of %v, interleaved; %s. It took %v.\n\n",
		b.started.UTC().Format(time.DateOnly), kernel(), runtime.NumCPU(), cpuModel(), runtime.Version(), b.Rounds, b.For, layout,
		time.Since(b.started).Round(time.Second))
	o.WriteString(method)
	for _, a := range b.Absent {
		fmt.Fprintf(&o, "Left out: %s.\n", a)
	}
	for _, c := range b.Cases {
		b.table(&o, c)
	}
	b.redactionTable(&o)
	b.rulesTable(&o)
	b.goals(&o)
	return o.String()
}

const method = `CPU is the time of the whole process tree for each request, as the kernel counts it. For goproxy that has all that capturing every
pair, and shipping it by gRPC to a real forwarder in another process, take. Ratios are of the same round; in brackets the 95 % bootstrap
interval of their median. Each proxy has one thread or worker (goproxy: GOMAXPROCS=1) unless its line says otherwise. Each round begins with
new processes.

The load generator and the backend ask their sockets again for a while before they sleep. Who sends to a process that sleeps pays for waking
it, and on a virtual machine that is dear: without this, a proxy that is a little slower than what drives it would pay for its peers' rest in
each request, and one that is a little faster would not. The forwarder shares a CPU with both of them, and
comes first there.

Latency of open loops counts from when a request was due. Loopback charges the receiver's part of TCP to the sender.

`

func (b *Bench) table(o *strings.Builder, c Case) {
	fmt.Fprintf(o, "\n## %s (%s)\n\n", c.Title, c.Name)
	base := b.samples[c.Name]["haproxy-tcp"]
	if c.Idle > 0 {
		o.WriteString("| | bytes for each connection |\n|---|---|\n")
		for _, s := range b.Subjects {
			if list := b.samples[c.Name][s.Name]; len(list) > 0 {
				fmt.Fprintf(o, "| %s | %.0f |\n", s.Title, medianOf(list, memOf))
			}
		}
		return
	}
	units := c.Per + "s"
	if c.Per == "MiB" {
		units = c.Per
	}
	fmt.Fprintf(o, "| | %s/s | CPU µs per %s | vs HAProxy tcp | p50 µs | p99 µs | memory MB | failed / not sent in time | pairs seen / stored / dropped / with bodies shed |\n"+
		"|---|---|---|---|---|---|---|---|---|\n", units, c.Per)
	for _, s := range b.Subjects {
		list := b.samples[c.Name][s.Name]
		if len(list) == 0 {
			continue
		}
		failed, late := 0, 0
		for _, one := range list {
			failed, late = failed+one.Load.Errors, late+one.Load.Late
		}
		fmt.Fprintf(o, "| %s | %.0f | %s | %s | %.0f | %.0f | %s | %d / %d | %s |\n", s.Title,
			medianOf(list, served), number(medianOf(list, cpu)), show(ratios(list, base, cpu)),
			medianOf(list, p50), medianOf(list, p99), number(medianOf(list, memOf)/1e6), failed, late, pairsOf(list))
	}
}

func medianOf(list []Sample, of func(Sample) float64) float64 {
	values := make([]float64, len(list))
	for i, s := range list {
		values[i] = of(s)
	}
	return median(values)
}

func number(v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	return fmt.Sprintf("%.1f", v)
}

func pairsOf(list []Sample) string {
	sum, ok := sumPairs(list)
	if !ok {
		return "–"
	}
	return fmt.Sprintf("%d / %d / %d / %d", sum.Seen, sum.Acked, sum.Dropped, sum.Shed)
}

func show(i Interval) string {
	if math.IsNaN(i.Median) {
		return "–"
	}
	return fmt.Sprintf("%.2f [%.2f–%.2f]", i.Median, i.Low, i.High)
}

func kernel() string {
	b, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return runtime.GOOS
	}
	version, _, _ := strings.Cut(strings.TrimSpace(string(b)), "-")
	return "Linux " + version
}

func cpuModel() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(name, " \t:"))
		}
	}
	return runtime.GOARCH
}
