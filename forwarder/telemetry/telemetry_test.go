package telemetry_test

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-capture/weir/forwarder/telemetry"
)

func TestMeasures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		traffic := telemetry.Traffic{Proxies: 3}
		now := func() telemetry.Traffic { return traffic }
		if telemetry.New(0, time.Now).Measure(now) != nil {
			t.Error("turned off, and it measures")
		}
		m := telemetry.New(time.Minute, time.Now)
		time.Sleep(2 * time.Second)
		traffic.Pairs, traffic.Bytes = 10, 1000
		first := m.Measure(now)
		if first.GetInterval() != int64(2*time.Second) || first.GetPairsPerSecond() != 5 || first.GetBytesPerSecond() != 500 || first.GetProxiesConnected() != 3 {
			t.Errorf("%v", first)
		}
		if first.GetMemoryHeap() == 0 || first.GetGoroutines() == 0 {
			t.Errorf("%v", first)
		}
		if runtime.GOOS == "linux" && (first.GetMemoryResident() < first.GetMemoryHeap()/2 || first.GetOpenFiles() < 3 || first.GetCpuTime() == 0) {
			t.Errorf("%v", first)
		}
		time.Sleep(59 * time.Second)
		if got := m.Measure(now); got != first {
			t.Errorf("before the interval: %v", got)
		}
		traffic.Pairs += 120
		time.Sleep(time.Second)
		if got := m.Measure(now); got.GetPairsPerSecond() != 2 || got.GetBytesPerSecond() != 0 || got.GetInterval() != int64(time.Minute) {
			t.Errorf("%v", got)
		}
	})
}
