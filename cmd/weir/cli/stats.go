package cli

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/weir-capture/weir/client"
)

func stats(ctx context.Context, std IO, api *client.Client, command string, c statsCommand) error {
	var doc any
	var output, query string
	var err error
	var b bytes.Buffer
	_, which, _ := strings.Cut(command, " ")
	switch which, _, _ = strings.Cut(which, " "); which {
	case "facets":
		var f *client.Facets
		output, query = c.Facets.Output, c.Facets.ask().Query
		if f, err = api.Facets(ctx, c.Facets.ask(), c.Facets.Fields, c.Facets.Limit); err == nil {
			printFacets(&b, f)
		}
		doc = f
	case "endpoints":
		var e *client.Endpoints
		output, query = c.Endpoints.Output, c.Endpoints.ask().Query
		if e, err = api.Endpoints(ctx, c.Endpoints.ask(), c.Endpoints.Limit); err == nil {
			printEndpoints(&b, e)
		}
		doc = e
	case "histogram":
		var h *client.Histogram
		output, query = c.Histogram.Output, c.Histogram.ask().Query
		if h, err = api.Histogram(ctx, query, c.Histogram.From, c.Histogram.To, c.Histogram.Buckets); err == nil {
			printHistogram(&b, h)
		}
		doc = h
	case "map":
		var m *client.Map
		output, query = c.Map.Output, c.Map.ask().Query
		if m, err = api.Map(ctx, c.Map.ask(), c.Map.Limit); err == nil {
			printMap(&b, m)
		}
		doc = m
	case "errors":
		var e *client.Errors
		output, query = c.Errors.Output, c.Errors.ask().Query
		if e, err = api.Errors(ctx, c.Errors.ask(), c.Errors.Limit, c.Errors.ClientErrors); err == nil {
			printErrors(&b, e)
		}
		doc = e
	}
	if err != nil {
		return pointAt(std, query, err)
	}
	if output == "json" {
		return writeJSON(std.Out, doc)
	}
	return write(std.Out, b.Bytes())
}

// counted is a count, and what it is an estimate of where sampling left pairs
// out.
func counted(pairs, estimated uint64) string {
	if estimated > pairs {
		return fmt.Sprintf("~%d", estimated)
	}
	return fmt.Sprint(pairs)
}

func share(part, whole uint64) string {
	if whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(whole))
}

func partly(b *bytes.Buffer, partial bool, reason string) {
	if partial {
		fmt.Fprintf(b, "\nNot everything was counted: %s.\n", clean(reason, false))
	}
}

func rightTable(b *bytes.Buffer) *tabwriter.Writer {
	return tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
}

func printFacets(b *bytes.Buffer, f *client.Facets) {
	for i, facet := range f.Facets {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(b, "%s (%s)\n", facet.Field, count(facet.Distinct, "value", "values"))
		t := rightTable(b)
		for _, v := range facet.Values {
			fmt.Fprintf(t, "%s\t%s\t  %s\n", counted(v.Pairs, v.Estimated), share(v.Pairs, f.Pairs), clean(v.Value, false))
		}
		if facet.Others > 0 {
			fmt.Fprintf(t, "%d\t%s\t  others\n", facet.Others, share(facet.Others, f.Pairs))
		}
		if facet.Absent > 0 {
			fmt.Fprintf(t, "%d\t%s\t  none\n", facet.Absent, share(facet.Absent, f.Pairs))
		}
		t.Flush() // b is a buffer
	}
	partly(b, f.Partial, f.PartialReason)
}

func printEndpoints(b *bytes.Buffer, e *client.Endpoints) {
	t := rightTable(b)
	fmt.Fprintln(t, "pairs\terrors\tp50\tp95\tp99\tmax\t  endpoint")
	for _, l := range e.Endpoints {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t  %s\n", counted(l.Pairs, l.Estimated), share(l.Errors, l.Pairs),
			duration(l.P50NS), duration(l.P95NS), duration(l.P99NS), duration(l.MaxNS),
			clean(strings.TrimSpace(l.App+"  "+l.Method+" "+l.Host+l.Endpoint), false))
	}
	t.Flush() // b is a buffer
	if e.More {
		b.WriteString("\nThere are more; --limit shows them.\n")
	}
	partly(b, e.Partial, e.PartialReason)
}

func printHistogram(b *bytes.Buffer, h *client.Histogram) {
	t := rightTable(b)
	fmt.Fprintln(t, "time\tall\t2xx\t3xx\t4xx\t5xx\tother\t")
	for _, k := range h.Buckets {
		c := k.Estimated
		all := c.None + c.C1xx + c.C2xx + c.C3xx + c.C4xx + c.C5xx
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t\n", moment(k.Time), all, c.C2xx, c.C3xx, c.C4xx, c.C5xx, c.None+c.C1xx)
	}
	t.Flush() // b is a buffer
	fmt.Fprintf(b, "\n%s", count(h.Total, "pair", "pairs"))
	if h.Sampled {
		fmt.Fprintf(b, ", which stand for ~%d; the table shows those", h.EstimatedTotal)
	}
	b.WriteString(".\n")
	if h.Partial {
		b.WriteString("Not everything was counted: a limit was reached.\n")
	}
}

func printMap(b *bytes.Buffer, m *client.Map) {
	t := rightTable(b)
	fmt.Fprintln(t, "pairs\terrors\tp50\tp95\t  who calls whom")
	for _, e := range m.Edges {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t  %s\n", counted(e.Pairs, e.Estimated), share(e.Errors, e.Pairs), duration(e.P50NS), duration(e.P95NS),
			clean(e.Caller+" → "+e.Callee+" ("+e.Protocol+")", false))
	}
	t.Flush() // b is a buffer
	if m.More {
		b.WriteString("\nThere are more; --limit shows them.\n")
	}
	partly(b, m.Partial, m.PartialReason)
}

func printErrors(b *bytes.Buffer, e *client.Errors) {
	t := rightTable(b)
	fmt.Fprintln(t, "pairs\tstatus\tlast\t  what, and where")
	for _, g := range e.Groups {
		pairs, status := fmt.Sprint(g.Pairs), "-"
		if !g.Exact {
			pairs = "~" + pairs
		}
		if g.Status != 0 {
			status = fmt.Sprint(g.Status)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t  %s\n", pairs, status, moment(g.Last), clean(g.Template+"  ("+strings.TrimSpace(g.App+" "+g.Method+" "+g.Endpoint)+")", false))
	}
	t.Flush() // b is a buffer
	if e.More {
		b.WriteString("\nThere are more; --limit shows them.\n")
	}
	partly(b, e.Partial, e.PartialReason)
}
