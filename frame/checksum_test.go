package frame_test

import (
	"testing"

	"github.com/weir-capture/weir/frame"
)

// TestChecksum holds it to the usual check value of CRC-32C, wherever the head
// ends and the body begins.
func TestChecksum(t *testing.T) {
	const check = "123456789"
	for i := range len(check) + 1 {
		if got := frame.Checksum([]byte(check[:i]), []byte(check[i:])); got != 0xe3069283 {
			t.Errorf("split at %d: %08x", i, got)
		}
	}
	if frame.Checksum(nil, nil) != 0 {
		t.Error("nothing has to be 0: that is a frame of which nothing is known")
	}
}
