package main

import (
	"fmt"
	"strings"
)

// drawn are the cases of the picture, from left to right; a case that was not
// measured is left out.
var drawn = []struct{ name, title string }{
	{"k64", "64 connections, saturation"},
	{"ol2k", "2,000 requests/s"},
}

// Picture draws CPU time for each request, as bars, for a page that is light or
// dark. Subjects that need many times more are left to the tables: they would
// press all others together.
func (b *Bench) Picture() string {
	const width, top, row, left, gap, bars = 950, 64, 30, 360, 80, 200
	var subjects []Subject
	for _, s := range b.Subjects {
		if !s.Slow && !s.LargeOnly && s.Name != direct && len(b.samples["k64"][s.Name]) > 0 {
			subjects = append(subjects, s)
		}
	}
	var o strings.Builder
	height := top + row*len(subjects) + 14
	fmt.Fprintf(&o, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="CPU time per request of proxies" font-family="system-ui, sans-serif" font-size="14">`+"\n", width, height)
	o.WriteString("<style>text{fill:#1f2328}.h{font-weight:600}.s{fill:#59636e;font-size:12px}.o{fill:#0b7285}.p{fill:#9aa4af}" +
		"@media (prefers-color-scheme:dark){text{fill:#e6edf3}.s{fill:#9198a1}.o{fill:#3bc9db}.p{fill:#57606a}}</style>\n")
	o.WriteString(`<text class="h" x="8" y="24">CPU time per request, µs (less is better)</text>` + "\n")
	column := 0
	for _, d := range drawn {
		samples := b.samples[d.name]
		largest := 0.0
		for _, s := range subjects {
			if list := samples[s.Name]; len(list) > 0 {
				largest = max(largest, medianOf(list, cpu))
			}
		}
		if largest == 0 {
			continue
		}
		x := left + column*(bars+gap)
		fmt.Fprintf(&o, `<text class="s" x="%d" y="50">%s</text>`+"\n", x, d.title)
		for i, s := range subjects {
			y := top + i*row
			if column == 0 {
				fmt.Fprintf(&o, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", left-10, y+15, s.Title)
			}
			list := samples[s.Name]
			if len(list) == 0 {
				continue
			}
			class := "p"
			if strings.HasPrefix(s.Name, "goproxy") {
				class = "o"
			}
			v := medianOf(list, cpu)
			w := v / largest * bars
			fmt.Fprintf(&o, `<rect class="%s" x="%d" y="%d" width="%.1f" height="20" rx="3"/><text x="%.1f" y="%d">%.1f</text>`+"\n",
				class, x, y, w, float64(x)+w+6, y+15, v)
		}
		column++
	}
	o.WriteString("</svg>\n")
	return o.String()
}
