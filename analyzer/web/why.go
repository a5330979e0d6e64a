package web

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/weir-capture/weir/analyzer/ledger"
	"github.com/weir-capture/weir/analyzer/store"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/doctor"
	"github.com/weir-capture/weir/query"
)

const (
	// whyWithin is how far around a time is looked when nobody says.
	whyWithin = time.Minute
	// whyRows is how many stored pairs are listed, whyCount how many are
	// counted.
	whyRows, whyCount = 10, 1000
	// maxExpression is how much of a rule's expression is shown.
	maxExpression = 200
	// whyProxies is how many proxies are listed of each kind.
	whyProxies = 20
	// reportLag is how late a report of a proxy that lives may be.
	reportLag = 5 * time.Second
	// leaseLength is how long a proxy may be silent before its forwarder gives
	// it up: within it a proxy whose end nobody saw ended.
	leaseLength = 45 * time.Second
)

// inquiry is one question of where a request went.
type inquiry struct {
	q        *query.Query // as it was asked
	sight    sight
	asked    example
	from, to int64
	now      int64
	report   ledger.Report
	// partial: not everything that is stored could be looked through.
	partial  bool
	findings []httpv1.WhyFinding
	// unlikely go behind everything else.
	unlikely []httpv1.WhyFinding
}

func (s *Server) why(ctx context.Context, in *whyInput) (*output[httpv1.Why], error) {
	if s.deps.Ledger == nil {
		return nil, noLedger()
	}
	q, _, err := s.ask(ctx, in.Q)
	if err != nil {
		return nil, err
	}
	if q == nil || len(terms(q.Root)) == 0 {
		return nil, badParam("q says nothing of the request; want at least one term, such as path:/pay.")
	}
	now := s.cfg.Now()
	around, err := parseTime("around", in.Around, now)
	if err != nil {
		return nil, err
	}
	if around == 0 {
		around = now.UnixNano()
	}
	within, err := parseSpan("within", in.Within, whyWithin, time.Second, 24*time.Hour)
	if err != nil {
		return nil, err
	}
	w := &inquiry{q: q, sight: sightOf(ctx), asked: exampleOf(q), now: now.UnixNano(), from: max(around-int64(within), 1), to: min(around, math.MaxInt64-int64(within)) + int64(within)}
	if w.from > w.now {
		return nil, badParam("around=%s is in the future: here it is %s.", shown(in.Around), now.UTC().Format(time.RFC3339))
	}
	w.report = w.sight.report(s.deps.Ledger.Report(ledger.Ask{App: w.asked.app(), From: w.from, To: w.to, Step: minLedgerStep}))

	ctx, cancel := context.WithTimeout(ctx, s.cfg.QueryTimeout)
	defer cancel()
	if err := w.stored(ctx, s.deps.Store); err != nil {
		return nil, s.fail(ctx, err)
	}
	if len(w.findings) == 0 {
		if err := w.elsewhere(ctx, s.deps.Store); err != nil {
			return nil, s.fail(ctx, err)
		}
	}
	known := w.sight.forwarders(s.forwarders())
	w.filtered(known)
	w.dropped()
	w.died()
	w.sampled()
	w.inFlight()
	if len(w.findings) == 0 || w.findings[0].Kind != "stored" {
		w.neverSeen(w.sight.processes(s.deps.Ledger.Processes(1, math.MaxInt64, math.MaxInt32)), proxies(known).Proxies)
	}
	// Certain ones before possible ones; otherwise in the order above.
	slices.SortStableFunc(w.findings, func(a, b httpv1.WhyFinding) int {
		return cmp.Compare(rank(a.Certain), rank(b.Certain))
	})
	w.findings = append(w.findings, w.unlikely...)
	return &output[httpv1.Why]{httpv1.Why{
		Query: q.String(), From: nano(w.from), To: nano(w.to), Verdict: w.findings[0].Kind, Findings: w.findings,
	}}, nil
}

func rank(certain bool) int {
	if certain {
		return 0
	}
	return 1
}

func (w *inquiry) add(f httpv1.WhyFinding) { w.findings = append(w.findings, complete(f)) }

// complete has no null lists.
func complete(f httpv1.WhyFinding) httpv1.WhyFinding {
	if f.Pairs == nil {
		f.Pairs = []httpv1.Row{}
	}
	if f.Proxies == nil {
		f.Proxies = []httpv1.WhyProxy{}
	}
	return f
}

// find lists the newest pairs of that time and counts them; found says how
// many in words.
func (w *inquiry) find(ctx context.Context, st store.Reader, q *query.Query) (rows []httpv1.Row, n uint64, found string, err error) {
	partial := false
	for p, err := range st.List(ctx, store.List{Query: w.sight.within(q), From: w.from, To: w.to, Limit: whyCount}) {
		if errors.Is(err, store.ErrPartial) {
			partial = true
			break
		}
		if err != nil {
			return nil, 0, "", err
		}
		if n++; len(rows) < whyRows {
			rows = append(rows, w.sight.row(p))
		}
	}
	w.partial = w.partial || partial
	found = plural(n, "such pair")
	if n == whyCount || partial {
		found = "At least " + found
	}
	return rows, n, found, nil
}

// elsewhere looks for such a request to another app.
func (w *inquiry) elsewhere(ctx context.Context, st store.Reader) error {
	app := w.asked.app()
	rest := slices.DeleteFunc(slices.Clone(terms(w.q.Root)), func(n query.Node) bool {
		t, ok := n.(query.Term)
		return ok && t.Field == query.FieldApp
	})
	if app == "" || len(rest) == 0 {
		return nil
	}
	rows, n, found, err := w.find(ctx, st, &query.Query{Root: query.And{Nodes: rest}})
	if err != nil || n == 0 {
		return err
	}
	apps := map[string]bool{}
	for _, r := range rows {
		apps[r.App] = true
	}
	w.unlikely = append(w.unlikely, complete(httpv1.WhyFinding{
		Kind: "stored", Pairs: rows, Count: n, Fix: "Ask without the app, or for another one.",
		Text: text("None of " + app + " is stored; of " + strings.Join(slices.Sorted(maps.Keys(apps)), ", ") + " there is, of that time: " + found + "."),
	}))
	return nil
}

// stored looks for the request itself.
func (w *inquiry) stored(ctx context.Context, st store.Reader) error {
	rows, n, found, err := w.find(ctx, st, w.q)
	if err != nil || n == 0 {
		return err
	}
	text := found + " of that time are stored; the newest is " + rows[0].ID + "."
	if n == 1 {
		text = "It is stored under the id " + rows[0].ID + "."
	}
	w.add(httpv1.WhyFinding{Kind: "stored", Certain: true, Text: text, Pairs: rows, Count: n})
	return nil
}

// filtered asks which rules would have left the request out.
func (w *inquiry) filtered(known []Forwarder) {
	counted := map[string]uint64{}
	for _, step := range w.report.Steps {
		for rule, n := range step.Filtered {
			counted[rule] += n
		}
	}
	type rule struct{ name, expression string }
	rules := map[rule]bool{}
	for _, f := range known {
		for _, r := range f.Status.GetFilterRules() {
			rules[rule{r.GetName(), r.GetExpression()}] = true
		}
	}
	told := map[string]bool{}
	for _, r := range slices.SortedFunc(maps.Keys(rules), func(a, b rule) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.expression, b.expression))
	}) {
		parsed, err := query.Parse(r.expression)
		if err != nil {
			continue // of a forwarder that knows more than this analyzer
		}
		n, verdict, as := counted[r.name], w.asked.judge(parsed.Root), ""
		if get, assumed := w.asked.asGET(); verdict == maybe && assumed && get.judge(parsed.Root) == yes {
			verdict, as = yes, ", as a GET,"
		}
		if verdict == no || verdict == maybe && n == 0 {
			continue
		}
		told[r.name] = true
		f := httpv1.WhyFinding{
			Kind: "filtered", Certain: verdict == yes && n > 0, Count: n, Rule: text(r.name), Hop: ledger.HopForwarder,
			Fix: "If such requests are wanted, take the rule out of the forwarder's FILTER_RULE.",
		}
		switch {
		case f.Certain:
			f.Text = fmt.Sprintf("The filter rule %q leaves out such a request%s and left out %s of that time.", r.name, as, plural(n, "pair"))
		case verdict == yes:
			f.Text = fmt.Sprintf("The filter rule %q leaves out such a request%s but left out none at that time.", r.name, as)
		default:
			f.Text = fmt.Sprintf("The filter rule %q may have left it out, as it did %s of that time; what was asked does not say enough to tell.", r.name, plural(n, "pair"))
		}
		f.Text += " It is: " + text(cut(r.expression, maxExpression))
		if f.Certain {
			w.add(f)
		} else {
			w.unlikely = append(w.unlikely, complete(f))
		}
	}
	// Rules that no forwarder has any more, or that one did not tell of.
	for _, name := range slices.Sorted(maps.Keys(counted)) {
		if n := counted[name]; n > 0 && !told[name] && !slices.ContainsFunc(slices.Collect(maps.Keys(rules)), func(r rule) bool { return r.name == name }) {
			w.add(httpv1.WhyFinding{
				Kind: "filtered", Count: n, Rule: text(name), Hop: ledger.HopForwarder,
				Text: fmt.Sprintf("%s of that time were left out by the filter rule %q; what it was nobody knows any more.", plural(n, "pair"), name),
				Fix:  "Look at the forwarder's FILTER_RULE of that time, and at the filter_rule of its destination.",
			})
		}
	}
}

// cut shortens a text to at most n bytes and a sign that it was.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + " …"
}

// dropped lists the losses of that time.
func (w *inquiry) dropped() {
	type loss struct {
		pairs    uint64
		from, to int64
	}
	losses := map[ledger.Drop]*loss{}
	for _, g := range w.report.Gaps {
		if g.Reason == ledger.ReasonDied {
			continue
		}
		l := losses[g.Drop]
		if l == nil {
			l = &loss{from: g.From, to: g.To}
			losses[g.Drop] = l
		}
		l.pairs += g.Pairs
		l.from, l.to = min(l.from, g.From), max(l.to, g.To)
	}
	// The likeliest is where most were lost.
	for _, d := range slices.SortedFunc(maps.Keys(losses), func(a, b ledger.Drop) int {
		return cmp.Or(cmp.Compare(losses[b].pairs, losses[a].pairs), a.Compare(b))
	}) {
		l, cause := losses[d], doctor.Loss(d.Hop, d.Reason)
		w.add(httpv1.WhyFinding{
			Kind: "dropped", Count: l.pairs, Hop: d.Hop, Reason: text(d.Reason), Fix: cause.Fix,
			Text: fmt.Sprintf("It may be one of %s that were lost between %s and %s: %s.", plural(l.pairs, "pair"), clock(l.from), clock(l.to), cause.Text),
		})
	}
}

func clock(t int64) string { return nano(t).Format("2006-01-02T15:04:05Z") }

// died lists the proxies that took pairs of that time with them, or may have.
func (w *inquiry) died() {
	gaps := map[ledger.Epoch]ledger.Gap{}
	for _, g := range w.report.Gaps {
		if g.Reason == ledger.ReasonDied {
			gaps[g.Epoch] = g
		}
	}
	for _, d := range w.report.Deaths {
		end := d.Ended
		if end == 0 {
			end = d.LastReport + int64(leaseLength)
		}
		_, lost := gaps[d.Epoch]
		blind := d.LastReport < w.to && end >= w.from
		if !lost && !blind {
			continue
		}
		delete(gaps, d.Epoch)
		w.add(httpv1.WhyFinding{
			Kind: "lost_with_proxy", Count: d.AtMost, Hop: ledger.HopProxy, Reason: ledger.ReasonDied, Fix: doctor.Loss(ledger.HopNone, ledger.ReasonDied).Fix,
			Text: text("The proxy " + d.ProxyID + " of " + d.App.App + " ended without a goodbye. " + deathText(d)),
			Proxies: []httpv1.WhyProxy{{
				ProxyID: text(d.ProxyID), Epoch: hex.EncodeToString(d.Epoch[:]), Cluster: text(d.Cluster), Namespace: text(d.Namespace), App: text(d.App.App),
				State: "reaped", Watching: d.LastReport >= w.from, Until: nanoOrNil(d.LastReport),
			}},
		})
	}
}

func (w *inquiry) sampled() {
	var n uint64
	for _, step := range w.report.Steps {
		n += step.Sampled
	}
	if n > 0 {
		w.add(httpv1.WhyFinding{
			Kind: "sampled", Count: n, Hop: ledger.HopProxy,
			Text: "It may be one of " + plural(n, "pair") + " of that time that sampling left out.",
			Fix:  "Sample less: CAPTURE_SAMPLE of the proxy, or the forwarder's SAMPLE_FILE. Errors and slow requests are always kept.",
		})
	}
}

func (w *inquiry) inFlight() {
	all, then := w.report.Total.InFlight, w.report.Open
	if all == 0 {
		return
	}
	f := httpv1.WhyFinding{
		Kind: "in_flight", Count: min(all, then),
		Text: "It may be one of " + plural(min(all, then), "pair") + " of that time on their way: still open, in a proxy's memory or ring, or in a forwarder's spool.",
		Fix:  "Ask again in a moment. If they stay, look whether their forwarder is connected: weir doctor.",
	}
	if then > 0 {
		w.add(f)
		return
	}
	// There nearly always are some that were just seen.
	f.Count = all
	f.Text = plural(all, "pair") + " are on their way, by all signs of another time."
	w.unlikely = append(w.unlikely, complete(f))
}

// neverSeen says who was watching, and who was not. It is certain where the
// request can be nowhere else.
func (w *inquiry) neverSeen(all []ledger.Process, known []httpv1.Proxy) {
	elsewhere := slices.ContainsFunc(w.unlikely, func(f httpv1.WhyFinding) bool { return f.Count > 0 })
	certain := len(w.findings) == 0 && !elsewhere && !w.partial
	app := w.asked.app()
	now := map[string]httpv1.Proxy{}
	for _, p := range known {
		now[p.Epoch] = p
	}
	apps := map[string]bool{}
	var there, silent, not []httpv1.WhyProxy
	var off, unread, unheard []string
	for _, p := range all {
		apps[p.App.App] = true
		if app != "" && p.App.App != app {
			continue
		}
		out, at := whyProxy(p, now[hex.EncodeToString(p.Epoch[:])])
		over := p.State == ledger.Stopped || p.State == ledger.Died
		// What it has seen since its last report nobody here knows.
		late := !over && p.First < w.to && p.Last < min(w.to, w.now)-int64(reportLag)
		if late {
			certain = false
			unheard = append(unheard, out.ProxyID)
		}
		out.Watching = p.First < w.to && p.Last >= w.from || p.State == ledger.Live && p.First < w.to
		switch {
		case late && !out.Watching:
			silent = append(silent, out)
		case out.Watching:
			there = append(there, out)
			if at.Epoch != "" && !at.CaptureOn {
				off = append(off, out.ProxyID)
			}
			for name := range at.Protocols {
				if title, advice := protocolAdvice(name); advice != "" {
					unread = append(unread, title)
				}
			}
		case app != "":
			not = append(not, out)
		}
	}
	f := httpv1.WhyFinding{
		Kind: "never_seen", Certain: certain,
		Proxies: slices.Concat(there[:min(len(there), whyProxies)], silent[:min(len(silent), whyProxies)], not[:min(len(not), whyProxies)]),
	}
	for _, p := range there {
		f.Count += p.Seen
	}
	of := ""
	if app != "" {
		of = " of " + app
	}
	slices.Sort(unread)
	unread = slices.Compact(unread)
	switch {
	case len(there) == 0 && len(silent) > 0:
		f.Text = "Whether a proxy" + of + " saw it nobody knows."
		f.Fix = "Look for the forwarder that told of them: weir doctor. What they saw comes when it is back."
	case len(there) == 0 && len(not) == 0 && app != "":
		f.Text = "No proxy" + of + " is known."
		f.Fix = "Start goproxy beside the application with APP_LABEL=" + app + "."
		if len(apps) > 0 {
			f.Text += " Known are: " + strings.Join(slices.Sorted(maps.Keys(apps)), ", ") + "."
		}
	case len(there) == 0:
		f.Text = "No proxy" + of + " was watching at that time."
		f.Fix = "Keep goproxy running as long as the application does."
	default:
		f.Text = whoWatched(there, of)
		if certain {
			f.Text += " No such request passed, or it was not like what was asked."
		} else {
			f.Text += " If it is none of the others, it did not pass, or was not like what was asked."
		}
		f.Fix = "Check that the client connects to the proxy and not to the application itself, that the time is right, and ask with fewer terms."
	}
	if len(unheard) > 0 {
		slices.Sort(unheard)
		unheard = slices.Compact(unheard)
		f.Text += " Not heard of since then, or not lately: " + strings.Join(unheard[:min(len(unheard), whyProxies)], ", ") + "; what they saw after their last report is not known yet."
	}
	if w.partial {
		f.Text += " Not everything that is stored could be looked through: ask for a shorter time, or without bodies."
	}
	if len(off) > 0 {
		f.Text += " Capture is off at " + strings.Join(off, ", ") + "."
	}
	if len(unread) > 0 {
		f.Text += " Connections were seen that are carried unread: " + strings.Join(unread, ", ") + "."
	}
	f.Text, f.Fix = text(f.Text), text(f.Fix)
	w.add(f)
}

func whoWatched(there []httpv1.WhyProxy, of string) string {
	first := there[0]
	since := "an unknown time"
	if first.Since != nil {
		since = first.Since.Format(time.RFC3339)
	}
	if len(there) == 1 {
		return fmt.Sprintf("The proxy %s%s was watching, since %s; it has seen %s.", first.ProxyID, of, since, plural(first.Seen, "pair"))
	}
	return fmt.Sprintf("%d proxies%s were watching.", len(there), of)
}

// whyProxy is a process as the ledger and, where it is still listed, its
// forwarder know it.
func whyProxy(p ledger.Process, at httpv1.Proxy) (httpv1.WhyProxy, httpv1.Proxy) {
	out := httpv1.WhyProxy{
		ProxyID: text(p.ProxyID), Epoch: hex.EncodeToString(p.Epoch[:]),
		Cluster: text(p.Cluster), Namespace: text(p.Namespace), App: text(p.App.App),
		State: [...]string{ledger.Unknown: "unknown", ledger.Live: "connected", ledger.Stopped: "stopped", ledger.Died: "reaped"}[p.State],
		Since: nanoOrNil(p.First), Seen: p.Seen, Listen: at.ListenAddr, Upstream: at.UpstreamAddr,
	}
	if at.State != "" {
		out.State = at.State // it is newer
	}
	if out.State != "connected" && out.State != "away" {
		out.Until = nanoOrNil(p.Last)
	}
	return out, at
}
