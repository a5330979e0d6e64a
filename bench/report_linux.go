package main

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"time"
)

// goal is one line of what goproxy promises.
type goal struct {
	text              string
	subject, peer, on string // on is the case
	of                func(Sample) float64
	must, aim         float64
}

func cpu(s Sample) float64    { return s.CPU }
func memOf(s Sample) float64  { return s.Memory }
func p50(s Sample) float64    { return s.Load.P50 }
func p99(s Sample) float64    { return s.Load.P99 }
func served(s Sample) float64 { return float64(s.Load.Requests) / s.Load.Seconds }

var goals = []goal{
	{"CPU vs HAProxy tcp, saturation, 64 connections", "goproxy", "haproxy-tcp", "k64", cpu, 1.15, 1.00},
	{"CPU vs HAProxy tcp, saturation, 256 connections", "goproxy", "haproxy-tcp", "k256", cpu, 1.15, 1.00},
	{"CPU vs HAProxy tcp, open loop 2,000/s", "goproxy", "haproxy-tcp", "ol2k", cpu, 1.30, 1.10},
	{"CPU vs nginx http, saturation", "goproxy", "nginx", "k64", cpu, 0.95, 0.80},
	{"CPU vs httputil.ReverseProxy, saturation", "goproxy", "reverseproxy", "k64", cpu, 0.33, 0.28},
	{"CPU vs mitmdump -w, saturation", "goproxy", "mitmdump", "k64", cpu, 1.0 / 50, 1.0 / 60},
	{"CPU capture on vs off, 64 connections", "goproxy", "goproxy-off", "k64", cpu, 1.25, 1.10},
	{"CPU for 1 MiB bodies, 64 KiB kept, vs HAProxy tcp", "goproxy-64k", "haproxy-tcp", "big", cpu, 0.80, 0.50},
	{"CPU, one request per connection, vs HAProxy tcp", "goproxy", "haproxy-tcp", "churn", cpu, 1.40, 1.15},
	{"memory at 2,000/s vs HAProxy tcp", "goproxy", "haproxy-tcp", "ol2k", memOf, 2, 1.5},
}

// Report is the whole run as Markdown.
func (b *Bench) Report() string {
	var o strings.Builder
	layout := "the subject alone on one CPU, everything else on another"
	if !b.Pin {
		layout = "nothing pinned"
	}
	fmt.Fprintf(&o, "# What it costs\n\n%s, %s, %d CPUs (%s), %s; %d rounds of %v, interleaved; %s.\n\n",
		b.started.UTC().Format(time.DateOnly), kernel(), runtime.NumCPU(), cpuModel(), runtime.Version(), b.Rounds, b.For, layout)
	o.WriteString("CPU is the time of the whole process tree for each request, as the kernel counts it, with everything that capturing and shipping\n" +
		"to a forwarder in another process take. Ratios are of the same round; in brackets the 95 % bootstrap interval of their median.\n\n")
	for _, a := range b.Absent {
		fmt.Fprintf(&o, "Left out: %s.\n", a)
	}
	for _, c := range b.Cases {
		b.table(&o, c)
	}
	b.goals(&o)
	return o.String()
}

func (b *Bench) table(o *strings.Builder, c Case) {
	fmt.Fprintf(o, "\n## %s\n\n", c.Title)
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
	fmt.Fprintf(o, "| | %ss/s | CPU µs per %s | vs HAProxy tcp | p50 µs | p99 µs | memory MB | pairs seen / stored / dropped |\n|---|---|---|---|---|---|---|---|\n", strings.TrimSuffix(c.Per, "s"), c.Per)
	for _, s := range b.Subjects {
		list := b.samples[c.Name][s.Name]
		if len(list) == 0 {
			continue
		}
		fmt.Fprintf(o, "| %s | %.0f | %.1f | %s | %.0f | %.0f | %.1f | %s |\n", s.Title,
			medianOf(list, served), medianOf(list, cpu), show(ratios(list, base, cpu)),
			medianOf(list, p50), medianOf(list, p99), medianOf(list, memOf)/1e6, pairsOf(list))
	}
}

func medianOf(list []Sample, of func(Sample) float64) float64 {
	values := make([]float64, len(list))
	for i, s := range list {
		values[i] = of(s)
	}
	return median(values)
}

func pairsOf(list []Sample) string {
	var sum Pairs
	counted := false
	for _, s := range list {
		if s.Pairs != nil {
			counted = true
			sum.Seen += s.Pairs.Seen
			sum.Acked += s.Pairs.Acked
			sum.Dropped += s.Pairs.Dropped
		}
	}
	if !counted {
		return "–"
	}
	return fmt.Sprintf("%d / %d / %d", sum.Seen, sum.Acked, sum.Dropped)
}

func show(i Interval) string {
	if math.IsNaN(i.Median) {
		return "–"
	}
	return fmt.Sprintf("%.2f [%.2f–%.2f]", i.Median, i.Low, i.High)
}

func (b *Bench) goals(o *strings.Builder) {
	o.WriteString("\n## Goals\n\nA must holds when the lower end of its interval is at or under it.\n\n| | ratio | must | | aim | |\n|---|---|---|---|---|---|\n")
	word := func(ok bool) string {
		if ok {
			return "holds"
		}
		return "**missed**"
	}
	for _, g := range goals {
		a, p := b.samples[g.on][g.subject], b.samples[g.on][g.peer]
		if len(a) == 0 || len(p) == 0 {
			continue
		}
		i := ratios(a, p, g.of)
		fmt.Fprintf(o, "| %s | %s | ≤ %.3g | %s | ≤ %.3g | %s |\n", g.text, showFine(i), g.must, word(i.Low <= g.must), g.aim, word(i.Low <= g.aim))
	}
	if list := b.samples["idle"]["goproxy"]; len(list) > 0 {
		kib := medianOf(list, memOf) / 1024
		fmt.Fprintf(o, "| memory of an idle connection, KiB | %.1f | ≤ 16 | %s | ≤ 8 | %s |\n", kib, word(kib <= 16), word(kib <= 8))
	}
	for _, c := range b.Cases {
		list := b.samples[c.Name]["goproxy"]
		if len(list) == 0 || list[0].Pairs == nil {
			continue
		}
		var sum Pairs
		for _, s := range list {
			sum.Seen, sum.Acked, sum.Dropped = sum.Seen+s.Pairs.Seen, sum.Acked+s.Pairs.Acked, sum.Dropped+s.Pairs.Dropped
		}
		lost := int64(sum.Seen) - int64(sum.Acked) - int64(sum.Dropped)
		fmt.Fprintf(o, "| %s: pairs lost without a count | %d | 0 | %s | | |\n", c.Name, lost, word(lost == 0))
		if strings.HasPrefix(c.Name, "ol") {
			fmt.Fprintf(o, "| %s: pairs dropped | %d | 0 | %s | | |\n", c.Name, sum.Dropped, word(sum.Dropped == 0))
		}
	}
}

func showFine(i Interval) string {
	if i.Median < 0.1 {
		return fmt.Sprintf("1/%.0f [1/%.0f–1/%.0f]", 1/i.Median, 1/i.Low, 1/i.High)
	}
	return show(i)
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

// Picture draws CPU for each request in the first case, as bars.
func (b *Bench) Picture() string {
	c := b.Cases[0]
	var o strings.Builder
	type bar struct {
		title string
		value float64
		ours  bool
	}
	var bars []bar
	largest := 0.0
	for _, s := range b.Subjects {
		if list := b.samples[c.Name][s.Name]; len(list) > 0 && !s.Saturated {
			v := medianOf(list, cpu)
			bars = append(bars, bar{s.Title, v, strings.HasPrefix(s.Name, "goproxy")})
			largest = max(largest, v)
		}
	}
	const width, row, left = 760, 34, 300
	height := 60 + row*len(bars)
	fmt.Fprintf(&o, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="CPU time per request, %s" font-family="system-ui, sans-serif" font-size="14">`+"\n", width, height, c.Title)
	o.WriteString("<style>text{fill:#1f2328}.o{fill:#0b7285}.p{fill:#adb5bd}@media (prefers-color-scheme:dark){text{fill:#e6edf3}.o{fill:#3bc9db}.p{fill:#495057}}</style>\n")
	fmt.Fprintf(&o, `<text x="8" y="24" font-weight="600">CPU µs per request: %s</text>`+"\n", c.Title)
	for i, bar := range bars {
		y := 44 + i*row
		class := "p"
		if bar.ours {
			class = "o"
		}
		w := bar.value / largest * (width - left - 80)
		fmt.Fprintf(&o, `<text x="%d" y="%d" text-anchor="end">%s</text><rect class="%s" x="%d" y="%d" width="%.1f" height="20" rx="3"/><text x="%.1f" y="%d">%.1f</text>`+"\n",
			left-10, y+16, bar.title, class, left, y, w, float64(left)+w+8, y+16, bar.value)
	}
	o.WriteString("</svg>\n")
	return o.String()
}
