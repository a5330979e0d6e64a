package pair

import (
	"bytes"
	"testing"
)

func TestIDsSortAsTheirPairsBegan(t *testing.T) {
	ids := NewIDs([32]byte{3})
	seen := make(map[[16]byte]bool)
	var last [16]byte
	for i := range int64(5000) {
		// 300 ns apart: finer than a millisecond's 4096 parts.
		id := ids.New(1_700_000_000_000_000_000 + i*300)
		if seen[id] {
			t.Fatalf("%x came twice", id)
		}
		seen[id] = true
		if bytes.Compare(id[:8], last[:8]) < 0 {
			t.Fatalf("%x sorts before %x", id, last)
		}
		if id[6]>>4 != 7 || id[8]>>6 != 2 {
			t.Fatalf("%x is no UUIDv7", id)
		}
		last = id
	}
}
