// Package doctor knows what can be wrong with Weir, why that is, and what to
// do about it, in words that are the same in the viewer and on the command
// line. What it finds in the documents of the API is in installation.go, what
// it finds out itself, about the machine that it runs on, in machine.go.
package doctor

import (
	"fmt"
	"time"

	httpv1 "github.com/weir-capture/weir/api/http/v1"
)

// What a check can come to.
const (
	OK      = "ok"
	Warning = "warning"
	Failure = "failure"
	Skipped = "skipped"
)

// Titles of the checks, by id. They say what is wanted, so that a list reads
// as what is so and what is not.
var titles = map[string]string{
	"analyzer.ready":     "Analyzer answers and takes pairs in",
	"analyzer.disk":      "Analyzer has room on its disk",
	"analyzer.index":     "Index keeps up with what is stored",
	"analyzer.store":     "What is stored can be read",
	"analyzer.reachable": "Analyzer reachable",

	"analyzer.auth":       "Sign-in is needed",
	"analyzer.oidc":       "Identity provider answers",
	"analyzer.encryption": "What is stored is encrypted",

	"forwarder.connected":   "Forwarders connected",
	"forwarder.clock":       "Forwarders' clocks agree with the analyzer's",
	"forwarder.spool":       "Forwarders' spools have room",
	"forwarder.redaction":   "Redaction on",
	"forwarder.proxies":     "Proxies are asked who they are",
	"forwarder.rules":       "Filter rules",
	"forwarder.destination": "Destinations take what forwarders have",
	"forwarder.reachable":   "Forwarder reachable",

	"proxy.connected": "Proxies connected",
	"proxy.upstream":  "Upstream reachable",
	"proxy.id":        "Each proxy has a name of its own",
	"proxy.clock":     "Proxies' clocks agree with their forwarders'",
	"proxy.capture":   "Capture on",
	"proxy.memory":    "Capture has memory and room",
	"proxy.protocol":  "Protocols are read",

	"ledger.holds":   "Every pair is accounted for",
	"ledger.dropped": "Nothing was dropped in the last hour",
	"ledger.died":    "No proxy died in the last hour",

	"config":    "Configuration",
	"port":      "Port free",
	"directory": "Directory can be written and has room",
	"clock":     "Clock agrees with the analyzer's",
}

// check is one finding; its title follows from its id.
func check(id, where, status, found string, c Cause) httpv1.DoctorCheck {
	return httpv1.DoctorCheck{ID: id, Title: titles[id], Where: where, Status: status, Found: found, Cause: c.Text, Fix: c.Fix}
}

func good(id, where, found string) httpv1.DoctorCheck { return check(id, where, OK, found, Cause{}) }

// Report puts checks together.
func Report(now time.Time, checks []httpv1.DoctorCheck) httpv1.Doctor {
	out := httpv1.Doctor{Time: now.UTC(), Status: OK, Checks: append([]httpv1.DoctorCheck{}, checks...)}
	for _, c := range out.Checks {
		if c.Status == Failure || c.Status == Warning && out.Status == OK {
			out.Status = c.Status
		}
	}
	return out
}

// plural counts things in words.
func plural(n uint64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// bytes is a size in the unit that reads best.
func bytes(n uint64) string {
	for _, u := range []struct {
		unit string
		n    uint64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.n {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.n), u.unit)
		}
	}
	return fmt.Sprintf("%d B", n)
}

// ago is a length of time as people say it.
func ago(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// skew is how far a clock is off, in words.
func skew(d time.Duration) string {
	if d < 0 {
		return fmt.Sprintf("%.1f s behind", -d.Seconds())
	}
	return fmt.Sprintf("%.1f s ahead", d.Seconds())
}
