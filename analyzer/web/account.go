package web

import (
	"context"
	"encoding/hex"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weir-capture/weir/analyzer/ledger"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/doctor"
)

const (
	// ledgerSpan is what a ledger covers in time when nobody says.
	ledgerSpan = time.Hour
	// minLedgerStep is the finest step that is kept.
	minLedgerStep = time.Minute
)

// account are the calls that answer for what was seen: what became of it, and
// what is wrong.
func (s *Server) account(api huma.API) {
	huma.Register(api, operation(
		api, "get-ledger", "/api/v1/ledger", "What was seen, stored and dropped, and why",
		"total and apps count since counting began; steps and gaps are of [from, to), by default of the last hour. "+
			"Steps of a minute are kept for 24 hours, of ten minutes for 7 days, of an hour for 90 days.",
		[]*huma.Param{
			timeParam("from", "Where steps and gaps begin, included."), timeParam("to", "Where they end, excluded; by default now."),
			param("query", "app", "Only this app.", huma.TypeString),
			param("query", "step", "Least width of a step: 1m, 10m, 1h.", huma.TypeString),
		}, http.StatusBadRequest, http.StatusNotImplemented,
	), s.ledger)

	huma.Register(api, operation(
		api, "get-why", "/api/v1/why", "Where a request went",
		"Stored, filtered, dropped and why, lost with its proxy, sampled out, on its way, or never seen, and by whom.",
		[]*huma.Param{
			queryParam("What the request was like. Terms such as path:/pay, method:POST, host:, app: and header.<name>: are held against the filters' rules."),
			timeParam("around", "When it was made; by default now."),
			param("query", "within", "How far from that to look, on both sides: 1m by default.", huma.TypeString),
		}, http.StatusBadRequest, http.StatusNotImplemented, http.StatusServiceUnavailable,
	), s.why)

	huma.Register(api, operation(
		api, "get-doctor", "/api/v1/doctor", "What is wrong, why, and what to do",
		"Of the analyzer, the forwarders and the proxies, as they said last. weir doctor adds what it sees on its own machine.", nil,
	), func(ctx context.Context, _ *noInput) (*output[httpv1.Doctor], error) {
		return &output[httpv1.Doctor]{s.doctor(ctx)}, nil
	})

	huma.Register(api, operation(
		api, "list-forwarders", "/api/v1/forwarders", "Forwarders, as they last described themselves", "", nil,
	), func(ctx context.Context, _ *noInput) (*output[httpv1.Forwarders], error) {
		out := httpv1.Forwarders{Forwarders: []httpv1.Forwarder{}}
		for _, f := range sightOf(ctx).forwarders(s.forwarders()) {
			out.Forwarders = append(out.Forwarders, forwarder(f))
		}
		return &output[httpv1.Forwarders]{out}, nil
	})
}

// noLedger answers where there is none.
func noLedger() error {
	return problem(http.StatusNotImplemented, httpv1.ProblemNotSupported, "This analyzer keeps no ledger.")
}

func (s *Server) ledger(ctx context.Context, in *ledgerInput) (*output[httpv1.Ledger], error) {
	if s.deps.Ledger == nil {
		return nil, noLedger()
	}
	now := s.cfg.Now()
	from, to, err := parseRange(in.From, in.To, now)
	if err != nil {
		return nil, err
	}
	if to == 0 {
		to = max(now.UnixNano(), from+int64(minLedgerStep))
	}
	if from == 0 {
		from = max(to-int64(ledgerSpan), 1)
	}
	step, err := parseSpan("step", in.Step, minLedgerStep, minLedgerStep, 24*time.Hour)
	if err != nil {
		return nil, err
	}
	r := sightOf(ctx).report(s.deps.Ledger.Report(ledger.Ask{App: in.App, From: from, To: to, Step: step}))
	return &output[httpv1.Ledger]{ledgerDocument(r, from, to)}, nil
}

// parseSpan reads a length of time from lo to hi.
func parseSpan(name, v string, def, lo, hi time.Duration) (time.Duration, error) {
	if v == "" {
		return def, nil
	}
	d, err := daemon.ParseDuration(v)
	if err != nil || d < lo || d > hi {
		return 0, badParam("%s=%s is not valid; want a length of time from %s to %s, such as 10m.", name, shown(v), short(lo), short(hi))
	}
	return d, nil
}

// short is a length of time without its zeros: 1m, not 1m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func ledgerDocument(r ledger.Report, from, to int64) httpv1.Ledger {
	out := httpv1.Ledger{
		Since: nano(r.Since), From: nano(from), To: nano(to), StepNS: int64(r.Step),
		Holds: len(r.Reasons) == 0, Reasons: make([]string, 0, len(r.Reasons)),
		Total:     ledgerCounts(r.Total),
		Apps:      make([]httpv1.LedgerApp, 0, len(r.Apps)),
		Steps:     make([]httpv1.LedgerStep, 0, len(r.Steps)),
		Gaps:      make([]httpv1.LedgerGap, 0, len(r.Gaps)),
		Deaths:    make([]httpv1.LedgerDeath, 0, len(r.Deaths)),
		Partial:   r.Partial,
		Processes: r.Processes, Folded: r.Folded,
	}
	for _, reason := range r.Reasons {
		out.Reasons = append(out.Reasons, text(reason))
	}
	for _, a := range r.Apps {
		out.Apps = append(out.Apps, httpv1.LedgerApp{
			Cluster: text(a.Cluster), Namespace: text(a.Namespace), App: text(a.App.App),
			Holds: a.Holds(), LedgerCounts: ledgerCounts(a.Counts),
		})
	}
	for _, st := range r.Steps {
		out.Steps = append(out.Steps, httpv1.LedgerStep{
			Time: nano(st.Time), Cluster: text(st.Cluster), Namespace: text(st.Namespace), App: text(st.App.App), LedgerCounts: ledgerCounts(st.Counts),
		})
	}
	for _, g := range r.Gaps {
		out.Gaps = append(out.Gaps, ledgerGap(g))
	}
	for _, d := range r.Deaths {
		out.Deaths = append(out.Deaths, httpv1.LedgerDeath{
			ProxyID: text(d.ProxyID), Epoch: hex.EncodeToString(d.Epoch[:]),
			Cluster: text(d.Cluster), Namespace: text(d.Namespace), App: text(d.App.App),
			AtMost: d.AtMost, LastReport: nano(d.LastReport), Ended: nanoOrNil(d.Ended), Text: text(deathText(d)),
		})
	}
	return out
}

func ledgerGap(g ledger.Gap) httpv1.LedgerGap {
	bound := "exact"
	if g.AtMost {
		bound = "at_most"
	}
	return httpv1.LedgerGap{
		From: nano(g.From), To: nano(g.To), Cluster: text(g.Cluster), Namespace: text(g.Namespace), App: text(g.App.App),
		ProxyID: text(g.ProxyID), Epoch: hex.EncodeToString(g.Epoch[:]), Hop: g.Hop, Reason: text(g.Reason),
		Text: text(gapText(g)), Pairs: g.Pairs, Bound: bound,
	}
}

func ledgerCounts(c ledger.Counts) httpv1.LedgerCounts {
	out := httpv1.LedgerCounts{
		Seen: c.Seen, Stored: c.Stored, Filtered: map[string]uint64{}, Sampled: c.Sampled,
		Dropped: make([]httpv1.LedgerDrop, 0, len(c.Dropped)), InFlight: c.InFlight, Unknown: c.Unknown, Unaccounted: c.Unaccounted,
	}
	for rule, n := range c.Filtered {
		out.Filtered[text(rule)] += n
	}
	for _, d := range slices.SortedFunc(maps.Keys(c.Dropped), ledger.Drop.Compare) {
		out.Dropped = append(out.Dropped, httpv1.LedgerDrop{Hop: d.Hop, Reason: text(d.Reason), Pairs: c.Dropped[d]})
	}
	return out
}

func gapText(g ledger.Gap) string {
	how := doctor.Loss(g.Hop, g.Reason)
	if g.AtMost {
		return "At most " + plural(g.Pairs, "pair") + ": " + how.Text
	}
	return plural(g.Pairs, "pair") + ": " + how.Text
}

func deathText(d ledger.Death) string {
	from := nano(d.LastReport).Format(time.RFC3339)
	if d.Ended == 0 {
		return "At most " + plural(d.AtMost, "pair") + " up to its last report at " + from + ", unknown from there to its end."
	}
	return "At most " + plural(d.AtMost, "pair") + " up to its last report at " + from + ", unknown from there to its end, at " + nano(d.Ended).Format(time.RFC3339) + " at the latest."
}

// plural counts things in words.
func plural(n uint64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatUint(n, 10) + " " + one + "s"
}
