package main

import (
	"fmt"
	"io"
	"math"
)

// row is one line of what goproxy promises. value is to be at most must, and
// better at most aim; NaN means that there is none.
type row struct {
	text      string
	value     Interval
	must, aim float64
	format    func(float64) string
}

// goal is a promise about the ratio of two subjects in a case.
type goal struct {
	text              string
	subject, peer, on string // on is the case
	of                func(Sample) float64
	must, aim         float64
}

// memoryLimit is goproxy's CAPTURE_MEMORY_LIMIT, unless it is set, in bytes.
const memoryLimit = 64 << 20

var none = math.NaN()

func cpu(s Sample) float64    { return s.CPU }
func memOf(s Sample) float64  { return s.Memory }
func p50(s Sample) float64    { return s.Load.P50 }
func p99(s Sample) float64    { return s.Load.P99 }
func served(s Sample) float64 { return float64(s.Load.Requests) / s.Load.Seconds }
func period(s Sample) float64 { return 1 / served(s) }

var goals = []goal{
	{"CPU vs HAProxy tcp, saturation, 64 connections", "goproxy", "haproxy-tcp", "k64", cpu, 1.15, 1.00},
	{"CPU vs HAProxy tcp, saturation, 256 connections", "goproxy", "haproxy-tcp", "k256", cpu, 1.15, 1.00},
	{"CPU vs HAProxy tcp, open loop 2,000/s", "goproxy", "haproxy-tcp", "ol2k", cpu, 1.30, 1.10},
	{"CPU vs nginx http, saturation, 64 connections", "goproxy", "nginx", "k64", cpu, 0.95, 0.80},
	{"CPU vs nginx http, saturation, 256 connections", "goproxy", "nginx", "k256", cpu, 0.95, 0.80},
	{"CPU vs httputil.ReverseProxy, saturation, 64 connections", "goproxy", "reverseproxy", "k64", cpu, 0.33, 0.28},
	{"CPU vs httputil.ReverseProxy, saturation, 256 connections", "goproxy", "reverseproxy", "k256", cpu, 0.33, 0.28},
	{"CPU vs mitmdump -w, saturation, 64 connections", "goproxy", "mitmdump", "k64", cpu, 1.0 / 50, 1.0 / 60},
	{"CPU capture on vs off, 64 connections", "goproxy", "goproxy-off", "k64", cpu, 1.25, 1.10},
	{"CPU for 1 MiB bodies, 64 KiB kept, vs HAProxy tcp", "goproxy-64k", "haproxy-tcp", "big", cpu, 0.80, 0.50},
	{"CPU, one request per connection, vs HAProxy tcp", "goproxy", "haproxy-tcp", "churn", cpu, 1.40, 1.15},
	{"memory, 64 connections at 2,000/s, vs HAProxy tcp", "goproxy", "haproxy-tcp", "ol2k", memOf, 2, 1.5},
	{"p99 vs HAProxy tcp, open loop 2,000/s", "goproxy", "haproxy-tcp", "ol2k", p99, 1.25, none},
	{"p99 vs HAProxy tcp, open loop 8,000/s", "goproxy", "haproxy-tcp", "ol8k", p99, 1.25, none},
	{"time per request at saturation (the inverse of requests/s) vs HAProxy tcp", "goproxy", "haproxy-tcp", "k64", period, 1 / 0.8, none},
}

func plain(v float64) string { return fmt.Sprintf("%.2f", v) }
func whole(v float64) string { return fmt.Sprintf("%.0f", v) }

// inverse is for ratios that are far below 1.
func inverse(v float64) string { return fmt.Sprintf("1/%.0f", 1/v) }

// rows judges what was measured; what was not is not there.
func (b *Bench) rows() (list []row) {
	of := func(on, subject string) []Sample { return b.samples[on][subject] }
	add := func(text string, value Interval, must, aim float64, format func(float64) string) {
		if value.N > 0 {
			list = append(list, row{text, value, must, aim, format})
		}
	}
	for _, g := range goals {
		format := plain
		if g.must < 0.1 {
			format = inverse
		}
		add(g.text, ratios(of(g.on, g.subject), of(g.on, g.peer), g.of), g.must, g.aim, format)
	}
	for _, on := range []string{"ol2k", "ol8k"} {
		more := paired(of(on, "goproxy"), of(on, "haproxy-tcp"), func(a, b Sample) float64 { return a.Load.P50 - b.Load.P50 })
		add(on+": p50 above that of HAProxy tcp, µs", more, 30, none, whole)
	}
	kib := paired(of("idle", "goproxy"), of("idle", "goproxy"), func(a, _ Sample) float64 { return a.Memory / 1024 })
	add("memory of an idle connection, KiB", kib, 16, 8, plain)
	for _, on := range []string{"k64", "k256"} {
		share := paired(of(on, "goproxy"), of(on, "haproxy-tcp"), func(a, b Sample) float64 { return a.Memory / (2*b.Memory + memoryLimit) })
		add(on+": memory, as a part of 2x HAProxy tcp + CAPTURE_MEMORY_LIMIT", share, 1, 0.5, plain)
	}
	for _, c := range b.Cases {
		for _, subject := range []string{"goproxy", "goproxy-64k", "goproxy-p2"} {
			sum, ok := sumPairs(of(c.Name, subject))
			if !ok {
				continue
			}
			exact := func(n uint64) Interval { return Interval{float64(n), float64(n), float64(n), 1} }
			what := c.Name + ", " + subject + ": pairs "
			lost := sum.Seen - min(sum.Seen, sum.Acked+sum.Dropped)
			add(what+"lost without a count", exact(lost), 0, 0, whole)
			if c.Offered && !c.Large || c.Large && subject == "goproxy" {
				add(what+"dropped", exact(sum.Dropped), 0, 0, whole)
			}
			if c.Large && subject == "goproxy" {
				aim := none
				if c.Offered {
					aim = 0
				}
				add(what+"with bodies shed, counted", exact(sum.Shed), none, aim, whole)
			}
		}
	}
	b.redactionRows(add)
	add("CPU of goproxy and the forwarder together, standard rules vs none", b.rulesRatio(), none, none, plain)
	return list
}

// paired gives f of the samples of two subjects, round by round.
func paired(a, b []Sample, f func(a, b Sample) float64) Interval {
	var values []float64
	for i := range min(len(a), len(b)) {
		values = append(values, f(a[i], b[i]))
	}
	return bootstrap(values)
}

func sumPairs(list []Sample) (sum Pairs, ok bool) {
	for _, s := range list {
		if s.Pairs != nil {
			ok = true
			sum.add(s.Pairs)
		}
	}
	return sum, ok
}

// goals prints the table of musts and aims.
func (b *Bench) goals(o io.Writer) {
	fmt.Fprint(o, "\n## Goals\n\nA must holds when the lower end of its interval is at or under it.\n\n| | median [95 %] | must | | aim | |\n|---|---|---|---|---|---|\n")
	word := func(bound float64, r row) (string, string) {
		switch {
		case math.IsNaN(bound):
			return "", ""
		case r.value.Low <= bound:
			return "≤ " + r.format(bound), "holds"
		default:
			return "≤ " + r.format(bound), "**missed**"
		}
	}
	for _, r := range b.rows() {
		must, held := word(r.must, r)
		aim, reached := word(r.aim, r)
		value := r.format(r.value.Median)
		if r.value.N > 1 {
			low, high := r.format(r.value.Low), r.format(r.value.High)
			value += " [" + low + " – " + high + "]"
		}
		fmt.Fprintf(o, "| %s | %s | %s | %s | %s | %s |\n", r.text, value, must, held, aim, reached)
	}
}
