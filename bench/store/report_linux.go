package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// row is one line of the table. must and aim are for a million pairs and for
// ten; where there is one number it holds for both.
type row struct {
	key, title, unit string
	must, aim        [2]float64
	// more: more is better.
	more bool
	// worst: must is for the 95th percentile and for the largest.
	worst [2]float64
	// large: the goal is for ten million pairs only.
	large bool
	// cold: the goal is for cold.
	cold bool
}

func twice(v float64) [2]float64 { return [2]float64{v, v} }

var rows = []row{
	{key: "cpu", title: "durable ingest: CPU of forwarder and analyzer", unit: "µs/pair", must: twice(55), aim: twice(35)},
	{key: "cpu forwarder", title: "– of the forwarder", unit: "µs/pair"},
	{key: "cpu analyzer", title: "– of the analyzer", unit: "µs/pair"},
	{key: "rate", title: "durable ingest on 2 cores", unit: "pairs/s", must: twice(25_000), aim: twice(40_000), more: true},
	{key: "ack", title: "acknowledgement at 5,000/s with dashboards, p95", unit: "ms", must: twice(100), aim: twice(40), worst: twice(500)},
	{key: "visible", title: "visible to queries, p95", unit: "ms", must: twice(1000), aim: twice(250)},
	{key: "bytes", title: "bytes of a pair on disk", unit: "B", must: twice(1350), aim: twice(1100)},
	{key: "memory", title: "memory, mixed work", unit: "MB", must: twice(512), aim: twice(300), large: true},
	{key: "memory ingest forwarder", title: "– forwarder, ingest at full speed", unit: "MB"},
	{key: "memory ingest analyzer", title: "– analyzer, ingest at full speed", unit: "MB"},
	{key: "newest", title: "newest 100, p95", unit: "ms", must: twice(10), aim: twice(5)},
	{key: "page", title: "page 10, p95", unit: "ms", must: twice(10), aim: twice(5)},
	{key: "one", title: "one pair whole, p95", unit: "ms", must: twice(10), aim: twice(5)},
	{key: "filtered", title: "filtered list, 1 h, p95", unit: "ms", must: [2]float64{25, 50}, aim: [2]float64{12.5, 25}},
	{key: "histogram", title: "histogram 24 h, p95", unit: "ms", must: [2]float64{30, 150}, aim: [2]float64{15, 75}},
	{key: "edges", title: "edges 24 h, p95", unit: "ms", must: [2]float64{40, 200}, aim: [2]float64{20, 100}},
	{key: "endpoints", title: "endpoints with percentiles, p95", unit: "ms", must: [2]float64{60, 500}, aim: [2]float64{40, 150}},
	{key: "facets", title: "8 facets, p95", unit: "ms", must: [2]float64{120, 700}, aim: [2]float64{60, 300}},
	{key: "rare", title: "rare word, warm, p95", unit: "ms", must: twice(1000), aim: twice(250), large: true},
	{key: "rare", title: "rare word, cold, p95", unit: "ms", must: twice(3000), aim: twice(1000), large: true, cold: true},
	{key: "common", title: "common word, newest 100, p95", unit: "ms"},
	{key: "scan", title: "scan for a substring", unit: "GB/s", must: twice(1.2), aim: twice(2), more: true},
	{key: "open", title: "opening, cold, p95", unit: "ms", must: twice(1000), aim: twice(300), large: true},
}

// column is one subject and size.
type column struct {
	subject string
	pairs   uint64
	figures Figures
}

func (b *bench) columns() (all []column) {
	for _, s := range []string{"weir", "duckdb", "sqlite"} {
		for _, n := range b.sizes {
			if f := b.results[s][n]; f != nil {
				all = append(all, column{s, n, f})
			}
		}
	}
	return all
}

// goalFor says which of the two goals a size is held to.
func goalFor(pairs uint64) int {
	if pairs > 3_000_000 {
		return 1
	}
	return 0
}

// verdict says whether a figure of Weir holds.
func (r row) verdict(c column) string {
	f, ok := c.figures[r.key]
	goal := goalFor(c.pairs)
	v := r.value(f)
	if r.must[goal] == 0 || c.subject != "weir" {
		return ""
	}
	if !ok || f.Missing != "" || v == 0 {
		return "not measured"
	}
	meets := func(want float64) bool { return r.more && v >= want || !r.more && v <= want }
	switch {
	case !meets(r.must[goal]) || r.worst[goal] > 0 && f.Max > r.worst[goal]:
		return "missed"
	case !meets(r.aim[goal]):
		return "holds"
	default:
		return "holds, aim too"
	}
}

func (r row) value(f Figure) float64 {
	if r.cold {
		return f.Cold
	}
	return f.Value
}

// show is a number with three digits that matter.
func show(v float64) string {
	switch {
	case v >= 1000:
		n := strconv.FormatInt(int64(v+0.5), 10)
		for i := len(n) - 3; i > 0; i -= 3 {
			n = n[:i] + "," + n[i:]
		}
		return n
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

func (r row) cell(c column) string {
	f, ok := c.figures[r.key]
	switch {
	case !ok:
		return "–"
	case f.Missing != "":
		if r.cold {
			return "–"
		}
		return f.Missing
	case r.cold && f.Cold == 0:
		return "–"
	case r.cold:
		return show(f.Cold)
	}
	text := show(f.Value)
	if r.worst[0] > 0 {
		text += " / max " + show(f.Max)
	} else if f.Median > 0 {
		text += " (median " + show(f.Median)
		if f.CPU > 0 {
			text += ", CPU " + show(f.CPU)
		}
		if f.Cold > 0 && !hasColdRow(r.key) {
			text += ", cold " + show(f.Cold)
		}
		text += ")"
	}
	if v := r.verdict(c); v != "" {
		text += " **" + v + "**"
	}
	return text
}

func hasColdRow(key string) bool {
	return slices.ContainsFunc(rows, func(r row) bool { return r.cold && r.key == key })
}

func (r row) goal(of [2]float64) string {
	switch {
	case of[0] == 0:
		return ""
	case of[0] == of[1]:
		text := show(of[0])
		if r.worst[0] > 0 && of == r.must {
			text += " / max " + show(r.worst[0])
		}
		if r.more {
			return "≥ " + text
		}
		return "≤ " + text
	}
	return "≤ " + show(of[0]) + " / " + show(of[1])
}

// report is the whole run as Markdown.
func (b *bench) report() string {
	var o strings.Builder
	columns := b.columns()
	fmt.Fprintf(&o, "# The store, measured\n\n%s, %s. Run of %v; each question %d times.\n\n",
		b.started.UTC().Format(time.DateOnly), machine(), time.Since(b.started).Round(time.Second), b.repeats)
	fmt.Fprintf(&o, "%s\n\n", strings.TrimSpace(strings.ReplaceAll(about, "COLD", b.cooler.String())))
	o.WriteString("| | | must | aim |")
	for _, c := range columns {
		fmt.Fprintf(&o, " %s, %s |", title(c.subject), sizeName(c.pairs))
	}
	o.WriteString("\n|---|---|---|---|" + strings.Repeat("---|", len(columns)) + "\n")
	for _, r := range rows {
		must := r.goal(r.must)
		if r.large {
			must += " at 10 M"
		}
		fmt.Fprintf(&o, "| %s | %s | %s | %s |", r.title, r.unit, must, r.goal(r.aim))
		for _, c := range columns {
			text := r.cell(c)
			if r.cold {
				if v := r.verdict(c); v != "" && text != "–" {
					text += " **" + v + "**"
				}
			}
			fmt.Fprintf(&o, " %s |", text)
		}
		o.WriteString("\n")
	}
	o.WriteString("\n")
	for _, c := range columns {
		var missed []string
		for _, r := range rows {
			if v := r.verdict(c); v == "missed" || v == "not measured" {
				missed = append(missed, r.title+" ("+v+")")
			}
		}
		if c.subject == "weir" && len(missed) > 0 {
			fmt.Fprintf(&o, "At %s not held: %s.\n", sizeName(c.pairs), strings.Join(missed, ", "))
		}
	}
	b.remarks(&o, columns)
	return o.String()
}

func (b *bench) remarks(o *strings.Builder, columns []column) {
	o.WriteString("\n## Remarks\n\n")
	for _, n := range b.notes {
		fmt.Fprintf(o, "* %s\n", n)
	}
	for _, c := range columns {
		seen := map[string]bool{}
		for _, r := range rows {
			if f := c.figures[r.key]; f.Note != "" && !seen[r.key] {
				seen[r.key] = true
				fmt.Fprintf(o, "* %s, %s, %s: %s.\n", title(c.subject), sizeName(c.pairs), r.title, f.Note)
			}
		}
	}
}

func sizeName(pairs uint64) string {
	switch {
	case pairs%1_000_000 == 0:
		return strconv.FormatUint(pairs/1_000_000, 10) + " M"
	case pairs%1000 == 0:
		return strconv.FormatUint(pairs/1000, 10) + " k"
	}
	return strconv.FormatUint(pairs, 10)
}

// about says what was done; COLD stands for how things were made cold.
const about = `
Pairs are those of bench/store/corpus, over 24 hours. Weir is the programs as they are shipped: 24 proxies send over gRPC to the forwarder
(no rules), which sends to the analyzer; questions go through the HTTP API, and the time of the whole answer counts. CPU is what the kernel
has counted for each process, until all pairs were stored and indexed and two seconds more. The sender of the pairs runs on the same CPUs
and takes its part of them; its own time is not counted. Each repeat of a question asks about another window of time, so that no answer can
be one that was kept. Of repeats the 95th percentile stands against the goal. Cold means: ` + "COLD" + `, before the process starts and again
before each question. The peers are embedded in the process that makes the pairs (what making them takes is subtracted from their CPU), and
have neither a network nor an API around them: that flatters them.
`
