package export_test

import (
	"testing"
	"time"

	"github.com/weir-capture/weir/forwarder/export"
)

func TestComplaint(t *testing.T) {
	var c export.Complaint
	now := time.Unix(1e9, 0)
	for i, step := range []struct {
		after time.Duration
		text  string
		over  bool
		due   bool
	}{
		{text: "refused", due: true},
		{after: 59 * time.Second, text: "refused"},
		{after: time.Second, text: "refused", due: true},
		{after: time.Second, text: "no answer", due: true},
		{after: time.Second, text: "no answer"},
		{after: time.Second, text: "no answer", over: true, due: true},
	} {
		now = now.Add(step.after)
		if step.over {
			c.Over()
		}
		if got := c.Due(step.text, now); got != step.due {
			t.Errorf("step %d: %v", i, got)
		}
	}
}
