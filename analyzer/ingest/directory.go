package ingest

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// Bounds of a directory.
const (
	maxForwarders = 1000
	maxProxies    = 10_000 // of one status; more are counted as omitted
)

// Directory keeps what each forwarder last said of itself, for people to read.
// It lives in memory: a forwarder says it again every second.
type Directory struct {
	mu      sync.Mutex
	entries map[string]*entry
}

// Forwarder is one entry. Status is to be read only.
type Forwarder struct {
	Status *capturev1.ForwarderStatus
	// LastSeen is by this process's clock.
	LastSeen time.Time
	// Connected: it has a stream open.
	Connected bool
	// Telemetry is the newest that came with a status, at TelemetryAt: it does
	// not come with each. Nil before the first.
	Telemetry   *capturev1.Telemetry
	TelemetryAt time.Time
	// Peer is the address that it came from.
	Peer string
	// Gaps counts stretches of its spool of which nobody knows what was in
	// them: those that it calls missing and, where it speaks version 0, those
	// that it removed before they came here.
	Gaps uint64
}

type entry struct {
	Forwarder
	streams int
}

// NewDirectory makes an empty directory.
func NewDirectory() *Directory { return &Directory{entries: map[string]*entry{}} }

// List gives all forwarders that were seen since the start, by id.
func (d *Directory) List() []Forwarder {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]Forwarder, 0, len(d.entries))
	for _, e := range d.entries {
		out = append(out, e.Forwarder)
	}
	slices.SortFunc(out, func(a, b Forwarder) int {
		return cmp.Compare(a.Status.GetForwarderId(), b.Status.GetForwarderId())
	})
	return out
}

// connect adds a stream of a forwarder. gone has to be called at its end.
func (d *Directory) connect(hello *capturev1.Hello, peer string, gap bool, now time.Time) (gone func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.entries[hello.GetForwarderId()]
	if e == nil {
		d.makeRoom()
		e = &entry{Forwarder: Forwarder{Status: &capturev1.ForwarderStatus{
			ForwarderId: hello.GetForwarderId(), Cluster: hello.GetCluster(), Version: hello.GetVersion(),
		}}}
		d.entries[hello.GetForwarderId()] = e
	}
	e.streams++
	e.Connected, e.Peer, e.LastSeen = true, peer, now
	if gap {
		e.Gaps++
	}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		e.streams--
		e.Connected = e.streams > 0
	}
}

// missing counts stretches that a forwarder no longer has and cannot declare.
func (d *Directory) missing(forwarderID string, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.entries[forwarderID]; e != nil {
		e.Gaps += uint64(n)
	}
}

// makeRoom forgets whoever is away and was not seen for longest.
func (d *Directory) makeRoom() {
	if len(d.entries) < maxForwarders {
		return
	}
	var oldest string
	found := false
	for id, e := range d.entries {
		if !e.Connected && (!found || e.LastSeen.Before(d.entries[oldest].LastSeen)) {
			oldest, found = id, true
		}
	}
	delete(d.entries, oldest) // nobody, when all are connected: streams are bounded
}

// update takes what a connected forwarder says.
func (d *Directory) update(forwarderID string, status *capturev1.ForwarderStatus, now time.Time) {
	if n := len(status.GetProxies()); n > maxProxies {
		status = proto.CloneOf(status)
		status.Proxies = status.Proxies[:maxProxies]
		status.ProxiesOmitted += uint32(n - maxProxies)
	}
	status.ForwarderId = forwarderID
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.entries[forwarderID]; e != nil {
		e.Status, e.LastSeen = status, now
		if t := status.GetTelemetry(); t != nil {
			e.Telemetry, e.TelemetryAt = t, now
		}
	}
}
