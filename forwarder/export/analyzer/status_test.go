package analyzer_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/forwarder/export/analyzer"
)

// TestStatusSaysWhatThisAnalyzerHas: each of several destinations hears how
// far it is itself. One that heard of another's progress would take what still
// waits for it as lost.
func TestStatusSaysWhatThisAnalyzerHas(t *testing.T) {
	a, c := newAnalyzer(t), &captured{epoch: 1, body: 100}
	s := openSpool(t, spoolDir(t), spoolOptions())
	a.with(func() { a.mute = true }) // it acknowledges nothing
	a.start()
	c.add(t, s, 40)
	x := run(t, s, a.addr, func(set *analyzer.Settings) {
		set.Status = func() *capturev1.ForwarderStatus {
			end := s.Log().End()
			return &capturev1.ForwarderStatus{Spool: &capturev1.SpoolState{NextOffset: end, ExportedOffset: end}} // the first one's
		}
	})
	poll(t, "a status", func() error {
		var st *capturev1.ForwarderStatus
		a.with(func() { st = a.status })
		if st == nil {
			return errors.New("none came")
		}
		if got, want := st.GetSpool().GetExportedOffset(), x.State().GetOffset(); got != want || want >= s.Log().End() {
			return fmt.Errorf("exported up to %d, this analyzer's cursor is at %d of %d", got, want, s.Log().End())
		}
		return nil
	})
}

// TestTelemetryOnEachConnection: an analyzer that begins again hears of the
// forwarder itself at once, and not when the next figures are due; and one that
// stays hears the same figures once.
func TestTelemetryOnEachConnection(t *testing.T) {
	a := newAnalyzer(t)
	s := openSpool(t, spoolDir(t), spoolOptions())
	figures := &capturev1.Telemetry{Interval: int64(time.Hour)}
	run(t, s, a.addr, func(set *analyzer.Settings) {
		set.Status = func() *capturev1.ForwarderStatus { return &capturev1.ForwarderStatus{Telemetry: figures} }
	})
	for round := 1; round <= 3; round++ {
		a.with(func() { a.status = nil })
		a.start()
		poll(t, "a second status", func() error { // the first one has the figures
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.status == nil || a.status.GetTelemetry() != nil {
				return errors.New("none came")
			}
			return nil
		})
		a.stop()
		if a.reports != round {
			t.Fatalf("after connection %d figures came %d times", round, a.reports)
		}
	}
}
