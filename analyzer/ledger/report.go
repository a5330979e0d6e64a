// Package ledger keeps the account of every pair that was seen: stored,
// filtered, sampled out, dropped for a reason, or still on its way.
//
// Two things feed it. Commits of the store are exact and come in order, each
// once; after a start those that a snapshot does not cover come again.
// Forwarders' reports tell what the proxies counted, and who came and went;
// these counts only grow, so that the largest is the newest, and a report that
// was lost is made good by the next.
package ledger

import (
	"cmp"
	"time"
)

// App is what sums are kept of.
type App struct{ Cluster, Namespace, App string }

// Drop is a place and a reason for which pairs are lost.
type Drop struct{ Hop, Reason string }

// Hops, and the reasons that the ledger itself finds; the others are words of
// the hops.
const (
	HopProxy     = "proxy"
	HopForwarder = "forwarder"
	HopAnalyzer  = "analyzer"
	// HopNone: nobody knows where.
	HopNone = "none"

	ReasonStopped      = "stopped"
	ReasonSpoolDamaged = "spool_damaged"
	ReasonUnreadable   = "unreadable"
	ReasonDamaged      = "damaged"
	// ReasonDeleted is of pairs that somebody deleted by query.
	ReasonDeleted = "deleted"
	// ReasonDied and ReasonUnaccounted are of gaps only: those counts stand
	// apart from what was dropped.
	ReasonDied        = "died"
	ReasonUnaccounted = "unaccounted"
)

// Counts is one sum. Always:
//
//	Seen = Stored + Σ Filtered + Sampled + Σ Dropped + InFlight + Unknown + Unaccounted
//
// but for those of a Step, in which Seen to Dropped are what changed and the
// rest is where it stood.
type Counts struct {
	Seen        uint64
	Stored      uint64
	Filtered    map[string]uint64 // by rule
	Sampled     uint64
	Dropped     map[Drop]uint64
	InFlight    uint64
	Unknown     uint64
	Unaccounted uint64
}

// Ask says what a report is to cover.
type Ask struct {
	// App, where it is not empty, is the only one to report on, in whatever
	// cluster and namespace.
	App string
	// From and To bound steps and gaps, Unix nanoseconds.
	From, To int64
	// Step is the least width of a step; it becomes wider where finer ones are
	// not kept any more, or would be more than MaxSteps.
	Step time.Duration
}

// Report answers an Ask. It belongs to the caller.
type Report struct {
	// Since is when counting began.
	Since int64
	Step  time.Duration
	// Reasons say why the sum does not hold; it holds where there are none.
	Reasons []string
	Total   Counts
	// Open are pairs that were seen in [From, To) and have come to no end, as
	// well as can be said: those that end are taken to be the oldest.
	Open   uint64
	Apps   []AppCounts // by name
	Steps  []Step      // oldest first, then by app
	Gaps   []Gap       // oldest first
	Deaths []Death     // newest first
	// Partial: more gaps or deaths happened than are kept.
	Partial bool
	// Processes are counted, Folded are those of them that are kept in the
	// sums only.
	Processes, Folded uint64
}

// AppCounts is the sum of one app.
type AppCounts struct {
	App
	Counts
}

// Step is what changed for one app in one step.
type Step struct {
	Time int64
	App
	Counts
}

// Gap is a stretch of time in which pairs of one process were lost.
type Gap struct {
	From, To int64
	App
	ProxyID string
	Epoch   Epoch
	Drop
	Pairs uint64
	// AtMost: Pairs is a bound; the process died.
	AtMost bool
}

// Death is a process that ended without a goodbye.
type Death struct {
	App
	ProxyID string
	Epoch   Epoch
	AtMost  uint64
	// LastReport is the newest word of it, Ended when its lease ran out; 0
	// where nobody knows.
	LastReport, Ended int64
	// Settled: nothing of it is on its way any more, so that AtMost does not
	// become less unless a forwarder comes back from the dead.
	Settled bool
}

// Process is one proxy process as the ledger knows it.
type Process struct {
	App
	ProxyID string
	Epoch   Epoch
	State   State
	// First and Last bound what is known of it: when it began (or was first
	// heard of), and its last report.
	First, Last int64
	Seen        uint64
}

// Epoch identifies a proxy process.
type Epoch [16]byte

// State is what is known of a process's life.
type State uint8

const (
	// Unknown: no forwarder that is connected tells of it.
	Unknown State = iota
	// Live: connected, or its lease runs.
	Live
	// Stopped: it said goodbye.
	Stopped
	// Died: its lease ran out, or nobody has heard of it for longer.
	Died
)

// Compare orders by hop and reason.
func (d Drop) Compare(o Drop) int {
	return cmp.Or(cmp.Compare(d.Hop, o.Hop), cmp.Compare(d.Reason, o.Reason))
}
