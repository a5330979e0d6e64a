package clock

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestNowIsTheAnchorAndWhatPassedSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wall := time.Now().UnixNano()
		c := New()
		time.Sleep(1500 * time.Millisecond)
		if got := c.Now() - wall; got != int64(1500*time.Millisecond) {
			t.Errorf("passed: %v", time.Duration(got))
		}
		if c.Start() != wall {
			t.Errorf("anchor: %d, want %d", c.Start(), wall)
		}
	})
}
