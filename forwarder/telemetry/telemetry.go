// Package telemetry measures the forwarder itself: what it takes of its
// machine, and how much goes through it.
package telemetry

import (
	"runtime"
	"runtime/metrics"
	"sync"
	"time"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// Traffic is what went through since the start.
type Traffic struct {
	// Pairs that were taken, and the bytes of the batches that held them.
	Pairs, Bytes uint64
	// Proxies that are connected now.
	Proxies int
}

// Meter measures at intervals. It may be used by many goroutines at once.
type Meter struct {
	every time.Duration
	now   func() time.Time

	mu     sync.Mutex
	last   time.Time
	then   Traffic
	newest *capturev1.Telemetry // nil before the first measure
}

// New makes a Meter that measures each interval; 0 is never. now has to have
// a monotonic part.
func New(every time.Duration, now func() time.Time) *Meter {
	return &Meter{every: every, now: now, last: now()}
}

// Measure gives the newest figures, which are made at the first call and then
// when the interval has passed; nil where it never measures. Whoever asks in
// the same interval gets the same message, so that several readers see the same
// figures and each can tell whether it has them already. It is not to be
// changed.
func (m *Meter) Measure(traffic func() Traffic) *capturev1.Telemetry {
	if m.every <= 0 {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	passed := now.Sub(m.last)
	if m.newest != nil && passed < m.every {
		return m.newest
	}
	t := traffic()
	p := ofProcess()
	out := &capturev1.Telemetry{
		Interval:       int64(passed),
		MemoryResident: p.resident, MemoryHeap: heap(), OpenFiles: p.files, CpuTime: uint64(p.cpu),
		Goroutines: uint32(runtime.NumGoroutine()), ProxiesConnected: uint32(t.Proxies),
	}
	if s := passed.Seconds(); s > 0 {
		out.PairsPerSecond = float64(t.Pairs-m.then.Pairs) / s
		out.BytesPerSecond = float64(t.Bytes-m.then.Bytes) / s
	}
	m.last, m.then, m.newest = now, t, out
	return out
}

// process is what the operating system knows of this process; 0 where it does
// not say.
type process struct {
	resident uint64 // bytes
	files    uint32
	cpu      time.Duration
}

// heap is the bytes of objects, live or not collected yet.
func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}
