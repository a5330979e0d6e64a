package httpv1

import "time"

// Ledger says what became of every pair that was seen:
//
//	seen = stored + filtered + sampled + dropped + in_flight + unknown + unaccounted
//
// Counts are cumulative since each proxy process began, also of what retention
// has removed meanwhile.
type Ledger struct {
	Since   time.Time     `json:"since" doc:"When counting began."`
	From    time.Time     `json:"from"`
	To      time.Time     `json:"to"`
	StepNS  int64         `json:"step_ns" doc:"Width of one step: a minute, or more where the range is long or old."`
	Holds   bool          `json:"holds" doc:"Nothing is unaccounted for."`
	Reasons []string      `json:"reasons" doc:"Why the sum does not hold, for people."`
	Total   LedgerCounts  `json:"total" doc:"Of all apps that were asked for, since counting began, whatever from and to."`
	Apps    []LedgerApp   `json:"apps"`
	Steps   []LedgerStep  `json:"steps" doc:"What changed in each step of [from, to) in which something did, oldest first; at most one entry for each app and step."`
	Gaps    []LedgerGap   `json:"gaps" doc:"Stretches of [from, to) in which pairs were lost, oldest first."`
	Deaths  []LedgerDeath `json:"deaths" doc:"Proxies that ended without a goodbye, newest first."`
	Partial bool          `json:"partial" doc:"There are more gaps or deaths than are listed; the counts have them."`
	// A process that is no longer told apart keeps its place in the sums.
	Processes uint64 `json:"processes" doc:"Proxy processes that are counted."`
	Folded    uint64 `json:"folded" doc:"Those of them that ended long ago and are kept only in the sums."`
}

// LedgerCounts is one sum.
type LedgerCounts struct {
	Seen        uint64            `json:"seen" doc:"Pairs begun, as the proxies last said."`
	Stored      uint64            `json:"stored" doc:"Durable in the analyzer."`
	Filtered    map[string]uint64 `json:"filtered" doc:"By rule."`
	Sampled     uint64            `json:"sampled"`
	Dropped     []LedgerDrop      `json:"dropped" doc:"By hop and reason."`
	InFlight    uint64            `json:"in_flight" doc:"On their way: still open, in a proxy's memory or ring, or in a forwarder's spool."`
	Unknown     uint64            `json:"unknown" doc:"At most so many were lost with proxies that died, up to their last report; what they saw after it nobody knows. See deaths."`
	Unaccounted uint64            `json:"unaccounted" doc:"Missing without a reason: a mistake of ours."`
}

// LedgerDrop counts pairs that were lost for one reason.
type LedgerDrop struct {
	Hop    string `json:"hop" enum:"proxy,forwarder,analyzer"`
	Reason string `json:"reason" example:"memory"`
	Pairs  uint64 `json:"pairs"`
}

// LedgerApp is the sum of one app.
type LedgerApp struct {
	Cluster   string `json:"cluster"`
	Namespace string `json:"namespace"`
	App       string `json:"app"`
	Holds     bool   `json:"holds"`
	LedgerCounts
}

// LedgerStep is what changed for one app in one step. in_flight, unknown and
// unaccounted are where they stood at its end.
type LedgerStep struct {
	Time      time.Time `json:"time" doc:"Where the step begins."`
	Cluster   string    `json:"cluster"`
	Namespace string    `json:"namespace"`
	App       string    `json:"app"`
	LedgerCounts
}

// LedgerGap is a stretch of time in which pairs of an app were lost.
type LedgerGap struct {
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`
	Cluster   string    `json:"cluster"`
	Namespace string    `json:"namespace"`
	App       string    `json:"app"`
	ProxyID   string    `json:"proxy_id"`
	Epoch     string    `json:"epoch"`
	Hop       string    `json:"hop" enum:"proxy,forwarder,analyzer,none" doc:"none: nobody knows where."`
	Reason    string    `json:"reason" doc:"died: with the proxy. unaccounted: nobody knows why. Otherwise as in dropped."`
	Text      string    `json:"text" doc:"What happened, for people."`
	Pairs     uint64    `json:"pairs"`
	Bound     string    `json:"bound" enum:"exact,at_most" doc:"at_most: a proxy died; so many at most of what it had seen up to its last report, and nobody knows what it saw from there to its end."`
}

// LedgerDeath is a proxy that ended without a goodbye.
type LedgerDeath struct {
	ProxyID    string     `json:"proxy_id"`
	Epoch      string     `json:"epoch"`
	Cluster    string     `json:"cluster"`
	Namespace  string     `json:"namespace"`
	App        string     `json:"app"`
	AtMost     uint64     `json:"at_most" doc:"Pairs that it had seen up to its last report and that are not stored, nor counted otherwise."`
	LastReport time.Time  `json:"last_report"`
	Ended      *time.Time `json:"ended" doc:"When its lease ran out; between its last report and then nobody knows what it saw."`
	Text       string     `json:"text" doc:"The same as a sentence."`
}

// Why says where a request went.
type Why struct {
	Query    string       `json:"query" doc:"What was asked for, in canonical form."`
	From     time.Time    `json:"from"`
	To       time.Time    `json:"to"`
	Verdict  string       `json:"verdict" enum:"stored,filtered,dropped,lost_with_proxy,sampled,in_flight,never_seen" doc:"The likeliest of the findings, and the first of them."`
	Findings []WhyFinding `json:"findings" doc:"Likeliest first; certain ones before possible ones."`
}

// WhyFinding is one place where the request may have gone.
type WhyFinding struct {
	Kind    string     `json:"kind" enum:"stored,filtered,dropped,lost_with_proxy,sampled,in_flight,never_seen"`
	Certain bool       `json:"certain" doc:"The request itself was found; otherwise it is one of those that may have gone there."`
	Text    string     `json:"text" doc:"The finding as a sentence."`
	Fix     string     `json:"fix" doc:"What to do about it; empty where nothing is to be done."`
	Pairs   []Row      `json:"pairs" doc:"The newest that match, where kind is stored."`
	Count   uint64     `json:"count" doc:"How many pairs went there in that time."`
	Rule    string     `json:"rule" doc:"Which rule, where kind is filtered."`
	Hop     string     `json:"hop"`
	Reason  string     `json:"reason"`
	Proxies []WhyProxy `json:"proxies" doc:"Who was, or was not, watching."`
}

// WhyProxy is a proxy that was watching, or was not.
type WhyProxy struct {
	ProxyID   string     `json:"proxy_id"`
	Epoch     string     `json:"epoch"`
	Cluster   string     `json:"cluster"`
	Namespace string     `json:"namespace"`
	App       string     `json:"app"`
	State     string     `json:"state" enum:"connected,away,reaped,stopped,unknown"`
	Watching  bool       `json:"watching" doc:"It was there at the time that was asked about, and captured."`
	Since     *time.Time `json:"since" doc:"When it began to watch; null where nobody knows."`
	Until     *time.Time `json:"until" doc:"Its last report, where it is gone."`
	Seen      uint64     `json:"seen" doc:"Pairs that it has seen."`
	Listen    string     `json:"listen" doc:"Where it listens; requests that go elsewhere do not pass it."`
	Upstream  string     `json:"upstream" doc:"What it carries traffic to."`
}

// Doctor is a list of checks, each with what to do.
type Doctor struct {
	Time   time.Time     `json:"time"`
	Status string        `json:"status" enum:"ok,warning,failure" doc:"The worst of the checks."`
	Checks []DoctorCheck `json:"checks"`
}

// DoctorCheck is one check.
type DoctorCheck struct {
	ID     string `json:"id" example:"proxy.upstream"`
	Title  string `json:"title" example:"Upstream reachable"`
	Where  string `json:"where" doc:"What was looked at: a proxy, a forwarder, a directory, an address; empty for the whole."`
	Status string `json:"status" enum:"ok,warning,failure,skipped"`
	Found  string `json:"found" doc:"What was found."`
	Cause  string `json:"cause" doc:"Why that is; empty when all is well."`
	Fix    string `json:"fix" doc:"What to do; empty when all is well."`
}
