//go:build failpoints

package failpoint

import (
	"errors"
	"testing"
)

func TestParse(t *testing.T) {
	for _, bad := range []string{"spool.after_write", "nowhere=kill", "spool.after_write=explode", "spool.after_write=kill@0", "spool.after_write=kill@x"} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	got, err := parse("spool.after_write=error@3;store.after_segment=kill")
	if err != nil || got[SpoolAfterWrite].left != 3 || got[StoreAfterSegment].action != "kill" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestHit(t *testing.T) {
	load()[SpoolAfterAck] = &point{"error", 2}
	for i, want := range []bool{false, true, false} {
		if got := errors.Is(Hit(SpoolAfterAck), ErrInjected); got != want {
			t.Errorf("reach %d: failed %v, want %v", i+1, got, want)
		}
	}
	if Hit(StoreMidCompaction) != nil {
		t.Error("a place that nobody asked for failed")
	}
}
