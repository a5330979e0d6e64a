package segstore_test

import (
	"testing"

	"github.com/weir-capture/weir/analyzer/store/storetest"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// appendFrames appends the pairs from to to-1, some in each frame.
func appendFrames(t testing.TB, s *running, f *storetest.Forwarder, from, to, perFrame uint64) {
	t.Helper()
	for n := from; n < to; n += perFrame {
		fr := f.Frame(storetest.Pairs(n, min(n+perFrame, to))...)
		if err := s.Append(t.Context(), f.Spool, []*capturev1.Frame{fr}); err != nil {
			t.Fatal(err)
		}
	}
}
