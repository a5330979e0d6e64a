package doctor

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	httpv1 "github.com/weir-capture/weir/api/http/v1"
)

// Analyzer is what an analyzer knows of itself.
type Analyzer struct {
	DataDir string
	// DiskFree and DiskTotal are of the file system under DataDir, in bytes;
	// both 0 where that is not known.
	DiskFree, DiskTotal uint64
	// NotReady are the reasons why it cannot answer or take pairs in.
	NotReady []string
	// IndexBacklog is how many pairs are stored and not indexed.
	IndexBacklog int
	// Unreadable and Damaged are frames and records that were stored and
	// cannot be read.
	Unreadable, Damaged uint64
	Doors               Doors
}

// Installation is everything that an analyzer knows.
type Installation struct {
	Now        time.Time
	Analyzer   Analyzer
	Forwarders []httpv1.Forwarder
	Proxies    []httpv1.Proxy
	// Ledger covers the last hour; nil where there is none.
	Ledger *httpv1.Ledger
	// Protocol says of a protocol, by the name that pairs carry, how people
	// call it and what it means that it is not read; empty when it is.
	Protocol func(name string) (title, advice string)
}

// maxFindings bounds what is listed of one check. What is beyond is counted.
const maxFindings = 20

// findings collects what one check found wrong.
type findings struct {
	id   string
	list []httpv1.DoctorCheck
	more int
}

func (f *findings) add(where, status, found string, c Cause) {
	if len(f.list) == maxFindings {
		f.more++
		return
	}
	f.list = append(f.list, check(f.id, where, status, found, c))
}

// result is what was found, or that all is well; where nobody is there to look
// at it is neither.
func (f *findings) result(well string, there uint64) []httpv1.DoctorCheck {
	switch {
	case len(f.list) == 0 && there == 0:
		return []httpv1.DoctorCheck{check(f.id, "", Skipped, "None is connected to look at.", Cause{})}
	case len(f.list) == 0:
		return []httpv1.DoctorCheck{good(f.id, "", well)}
	}
	if f.more > 0 {
		f.list = append(f.list, check(f.id, "", Warning, fmt.Sprintf("The same of %d more.", f.more), Cause{"See the others.", "As for the others."}))
	}
	return f.list
}

// Examine looks at everything that an analyzer knows.
func Examine(in Installation) []httpv1.DoctorCheck {
	return slices.Concat(in.analyzer(), in.doors(), in.forwarders(), in.proxies(), in.ledger())
}

const (
	// indexBehind is how many pairs may wait for the index before people are
	// told.
	indexBehind = 100_000
	// lowDisk is how much room a disk should have, as a part of it and at
	// least.
	lowDiskPart  = 20 // a twentieth
	lowDiskBytes = 256 << 20
)

func (in *Installation) analyzer() []httpv1.DoctorCheck {
	a := &in.Analyzer
	var out []httpv1.DoctorCheck
	if len(a.NotReady) > 0 {
		out = append(out, check("analyzer.ready", "", Failure, strings.Join(a.NotReady, "; "), Cause{
			"The store or its index is not there yet, or failed.",
			"An index that is being made again is only a matter of time; otherwise the analyzer's log has the reason.",
		}))
	} else {
		out = append(out, good("analyzer.ready", "", "It is ready."))
	}
	if a.DiskTotal > 0 {
		out = append(out, disk("analyzer.disk", a.DataDir, a.DiskFree, a.DiskTotal, "Give it more room, or keep less: RETENTION and RETENTION_BYTES."))
	}
	if a.IndexBacklog > indexBehind {
		out = append(out, check("analyzer.index", a.DataDir, Warning, plural(uint64(a.IndexBacklog), "pair")+" are stored and not indexed.", Cause{
			"Pairs come faster than this machine indexes them, or the index is being made again.",
			"Nothing is lost: forwarders wait. If it lasts, filter or sample more, or give the analyzer a faster disk or more cores.",
		}))
	} else {
		out = append(out, good("analyzer.index", "", plural(uint64(a.IndexBacklog), "pair")+" behind."))
	}
	if a.Unreadable+a.Damaged > 0 {
		out = append(out, check("analyzer.store", a.DataDir, Failure,
			fmt.Sprintf("%s and %s cannot be read.", plural(a.Unreadable, "frame"), plural(a.Damaged, "record")), Cause{
				"Bytes changed on a disk, or a forwarder speaks a version that this analyzer does not.",
				"Check the disks under DATA_DIR and the forwarders' SPOOL_DIR, and that forwarder and analyzer are of neighbouring versions.",
			}))
	} else {
		out = append(out, good("analyzer.store", "", "Everything that was looked at."))
	}
	return out
}

// disk judges the room under a directory.
func disk(id, dir string, free, total uint64, fix string) httpv1.DoctorCheck {
	found := fmt.Sprintf("%s of %s free.", bytes(free), bytes(total))
	switch {
	case free < lowDiskBytes/8:
		return check(id, dir, Failure, found, Cause{"The disk is full.", fix})
	case free < max(total/lowDiskPart, lowDiskBytes):
		return check(id, dir, Warning, found, Cause{"The disk is nearly full.", fix})
	}
	return good(id, dir, found)
}

func (in *Installation) forwarders() []httpv1.DoctorCheck {
	if len(in.Forwarders) == 0 {
		return []httpv1.DoctorCheck{check("forwarder.connected", "", Failure, "No forwarder has connected since the analyzer started.", Cause{
			"None runs, or its ANALYZER_ADDR does not lead to this analyzer's INGEST_ADDR.",
			"Start a forwarder with ANALYZER_ADDR set to the address that this analyzer takes pairs in at, and look at its log.",
		})}
	}
	connected := findings{id: "forwarder.connected"}
	clock := findings{id: "forwarder.clock"}
	spool := findings{id: "forwarder.spool"}
	redaction := findings{id: "forwarder.redaction"}
	proxies := findings{id: "forwarder.proxies"}
	destination := findings{id: "forwarder.destination"}
	rules := map[string]bool{}
	var there uint64
	for _, f := range in.Forwarders {
		where := f.ForwarderID
		if !f.Connected {
			found := fmt.Sprintf("It was heard of last %s ago.", ago(in.Now.Sub(f.LastSeen)))
			connected.add(where, Warning, found, Cause{
				"It stopped, or cannot reach this analyzer.",
				"Look whether it runs, and at its log. What its proxies capture waits in its spool meanwhile; one that was removed for good can be left alone.",
			})
			continue // the rest is of a time that is over
		}
		there++
		if f.Skewed {
			clock.add(where, Warning, "Its clock is "+skew(time.Duration(f.ClockSkewNS))+".", Cause{
				"Its machine's clock is not kept right.",
				"Run a time service (chrony, systemd-timesyncd) on both machines. Times of pairs are those of their proxies.",
			})
		}
		if limit := f.Spool.BytesLimit; limit > 0 {
			part := float64(f.Spool.BytesUsed) / float64(limit)
			behind := f.Spool.NextOffset - min(f.Spool.ExportedOffset, f.Spool.NextOffset)
			if status := threshold(part, 0.75, 0.95); status != OK && behind > 0 {
				spool.add(where, status, fmt.Sprintf("%s of %s used, %s not sent.", bytes(f.Spool.BytesUsed), bytes(limit), bytes(behind)), Cause{
					"More comes in than the analyzer, or another destination, takes.",
					Loss("forwarder", "spool_full").Fix,
				})
			}
		}
		if f.DLPConfig == "" {
			// A state that the user chose, or that this version leaves no choice
			// about: to be known, not to be mended.
			redaction.add(where, Skipped, "Off: what it forwards is stored as it was captured.", Cause{
				"DLP_CONFIG is not set there.",
				"Where traffic holds secrets, leave it out with FILTER_RULE, or set DLP_CONFIG=standard with a forwarder that has rule sets.",
			})
		}
		if f.Unauthenticated {
			proxies.add(where, Skipped, "It takes pairs from whoever reaches its port.", Cause{
				"Neither PROXY_TOKENS_FILE nor TLS_CLIENT_CA_FILE is set there.",
				"Where others reach the port, set one: weir key create --proxy APP makes a token and says its line of the file.",
			})
		}
		for _, d := range f.Destinations {
			if d.Error != "" {
				found := d.Error
				if d.BacklogBytes > 0 {
					found += "; " + bytes(d.BacklogBytes) + " wait"
				}
				destination.add(where+" → "+d.Name, Warning, sentence(found), Cause{
					"The destination cannot be reached, or does not take what it is sent.",
					"Look at the destination. Until it takes pairs again they wait in the spool, and other destinations are not held up.",
				})
			}
		}
		for _, r := range f.FilterRules {
			rules[r.Name] = true
		}
	}
	n := plural(there, "forwarder") + "."
	filters := findings{id: "forwarder.rules"}
	found := "No filter is on: everything is kept."
	if len(rules) > 0 {
		found = "Left out: " + strings.Join(slices.Sorted(maps.Keys(rules)), ", ") + "."
	}
	return slices.Concat(
		connected.result(n, there), clock.result("Within 2 s.", there), spool.result("None is nearly full.", there), redaction.result(n, there), proxies.result(n, there),
		filters.result(found, there), destination.result("All do.", there),
	)
}

func threshold(part, warn, fail float64) string {
	switch {
	case part >= fail:
		return Failure
	case part >= warn:
		return Warning
	}
	return OK
}

// sentence ends a text with a full stop.
func sentence(s string) string {
	if s == "" || strings.HasSuffix(s, ".") {
		return s
	}
	return s + "."
}

func (in *Installation) proxies() []httpv1.DoctorCheck {
	if len(in.Proxies) == 0 {
		return []httpv1.DoctorCheck{check("proxy.connected", "", Failure, "No proxy is known.", Cause{
			"None runs, its FORWARDER_ADDR does not lead to a forwarder, or its forwarder is not connected.",
			"Start goproxy beside the application and look at its log: it says when it has registered.",
		})}
	}
	connected := findings{id: "proxy.connected"}
	upstream := findings{id: "proxy.upstream"}
	ids := findings{id: "proxy.id"}
	clock := findings{id: "proxy.clock"}
	capture := findings{id: "proxy.capture"}
	memory := findings{id: "proxy.memory"}
	protocol := findings{id: "proxy.protocol"}
	alive := map[[2]string]bool{}
	for _, p := range in.Proxies {
		if p.State == "connected" {
			alive[[2]string{p.ProxyID, p.App}] = true
		}
	}
	twice := map[string]bool{}
	unread := map[string][]string{}
	var live uint64
	for _, p := range in.Proxies {
		where := fmt.Sprintf("%s (%s)", p.ProxyID, p.App)
		switch {
		case p.State == "reaped" && !alive[[2]string{p.ProxyID, p.App}]:
			connected.add(where, Warning, "It was given up: "+lastSeen(in.Now, p)+".", Cause{
				"It ended without a goodbye, or cannot reach its forwarder any more.",
				"Look whether it runs, and at its log. Its application's traffic is not captured meanwhile; weir ledger says what was lost.",
			})
		case p.State == "away":
			connected.add(where, Warning, "It went away: "+lastSeen(in.Now, p)+".", Cause{
				"Its connection to the forwarder broke; its lease runs for 45 s.",
				"It comes back by itself if it lives. What it captures waits in its memory, or its ring.",
			})
		case p.State == "unknown":
			connected.add(where, Skipped, "Nobody knows: its forwarder is not connected.", Cause{
				"The forwarder that told of it is away.", "See the forwarder.",
			})
		}
		if p.State != "connected" {
			continue
		}
		live++
		if p.UpstreamError != "" {
			c := Unreachable(p.UpstreamAddr, "REVERSE_PROXY_HOST and REVERSE_PROXY_PORT", p.UpstreamError, false)
			upstream.add(where, Failure, fmt.Sprintf("%s: %s.", p.UpstreamAddr, strings.TrimSuffix(p.UpstreamError, ".")), c)
		}
		if p.DuplicateID && !twice[p.ProxyID] {
			twice[p.ProxyID] = true
			ids.add(p.ProxyID, Warning, "Several proxies that run now have this name.", Cause{
				"They were started with the same APP_POD_NAME.",
				"Give each its own APP_POD_NAME. They are kept apart all the same, but nobody can tell them apart by name.",
			})
		}
		if p.Skewed {
			clock.add(where, Warning, "Its clock is "+skew(time.Duration(p.ClockSkewNS))+".", Cause{
				"Its machine's clock is not kept right; the times of its pairs are off by as much.",
				"Run a time service (chrony, systemd-timesyncd) there.",
			})
		}
		if !p.CaptureOn {
			capture.add(where, Warning, "It carries traffic and records nothing.", Cause{
				"CAPTURE=off is set, or it was turned off with SIGUSR1.",
				"Send it SIGUSR1, or start it with CAPTURE=on.",
			})
		}
		if p.MemoryLimit > 0 && float64(p.MemoryUsed) >= 0.8*float64(p.MemoryLimit) {
			memory.add(where, Warning, fmt.Sprintf("%s of %s used.", bytes(p.MemoryUsed), bytes(p.MemoryLimit)), Cause{
				"Capture holds more than its forwarder takes, or bodies are large: bodies are cut first, then left out, then pairs are dropped.",
				Loss("proxy", "memory").Fix,
			})
		}
		if p.RingLimit > 0 && float64(p.RingUsed) >= 0.8*float64(p.RingLimit) {
			memory.add(where, Warning, fmt.Sprintf("%s of %s of its ring on disk used.", bytes(p.RingUsed), bytes(p.RingLimit)), Cause{
				"The forwarder has been away for long, or is too slow.", Loss("proxy", "ring").Fix,
			})
		}
		for name, conns := range p.Protocols {
			if conns > 0 {
				unread[name] = append(unread[name], where)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(unread)) {
		title, advice := name, ""
		if in.Protocol != nil {
			title, advice = in.Protocol(name)
		}
		if advice == "" {
			continue
		}
		who := unread[name]
		slices.Sort(who)
		where := who[0]
		if n := len(who) - 1; n > 0 {
			where += fmt.Sprintf(" and %d more", n)
		}
		protocol.add(where, Warning, title+" was seen.", Cause{
			Text: "Weir carries " + title + " and does not read it.", Fix: advice,
		})
	}
	if live == 0 && len(connected.list) == 0 {
		connected.add("", Warning, "None; those that are known have stopped.", Cause{
			"They ended as they were told to, and nothing is captured now.", "Start goproxy beside the application again.",
		})
	}
	return slices.Concat(
		connected.result(fmt.Sprintf("%d.", live), live),
		upstream.result("The newest connection of each proxy worked.", live),
		ids.result("No name is used twice.", live), clock.result("Within 2 s.", live), capture.result("On everywhere.", live),
		memory.result("No proxy is near its limit.", live), protocol.result("Everything that was seen is read.", live),
	)
}

func lastSeen(now time.Time, p httpv1.Proxy) string {
	if p.LastSeen == nil {
		return "it was never heard"
	}
	return "it was heard of last " + ago(now.Sub(*p.LastSeen)) + " ago"
}

func (in *Installation) ledger() []httpv1.DoctorCheck {
	l := in.Ledger
	if l == nil {
		return nil
	}
	var out []httpv1.DoctorCheck
	if l.Holds {
		out = append(out, good("ledger.holds", "", fmt.Sprintf("%s seen, %d stored.", plural(l.Total.Seen, "pair"), l.Total.Stored)))
	} else {
		out = append(out, check("ledger.holds", "", Failure, sentence(strings.Join(l.Reasons, "; ")), Loss("none", "unaccounted")))
	}
	dropped := findings{id: "ledger.dropped"}
	type key struct{ hop, reason, app string }
	lost := map[key]uint64{}
	for _, g := range l.Gaps {
		if g.Bound == "exact" && g.Reason != "unaccounted" {
			lost[key{g.Hop, g.Reason, g.App}] += g.Pairs
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(lost), func(a, b key) int {
		return cmp.Or(cmp.Compare(lost[b], lost[a]), cmp.Compare(a.app, b.app), cmp.Compare(a.hop, b.hop), cmp.Compare(a.reason, b.reason))
	}) {
		cause := Loss(k.hop, k.reason)
		dropped.add(k.app, Warning, fmt.Sprintf("%s lost at the %s (%s).", plural(lost[k], "pair"), k.hop, k.reason), Cause{capital(sentence(cause.Text)), cause.Fix})
	}
	died := findings{id: "ledger.died"}
	for _, d := range l.Deaths {
		if d.LastReport.After(l.From) {
			died.add(fmt.Sprintf("%s (%s)", d.ProxyID, d.App), Warning, d.Text, Cause{capital(sentence(Loss("none", "died").Text)), Loss("none", "died").Fix})
		}
	}
	return slices.Concat(out, dropped.result("Nothing.", 1), died.result("None.", 1))
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
