package segstore

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

func TestFolded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		letters := rapid.SliceOfN(rapid.SampledFrom([]byte("aAbBzZ09 \"-\xc3\xa4{")), 0, 40)
		b := letters.Draw(t, "bytes")
		text := bytes.ToLower(rapid.SliceOfN(rapid.SampledFrom([]byte("abz09 \"-{")), 1, 5).Draw(t, "text"))
		lowered := bytes.Clone(b)
		for i, c := range lowered {
			if 'A' <= c && c <= 'Z' {
				lowered[i] = c + 'a' - 'A'
			}
		}
		if got, want := newFolded(string(text)).in(b), bytes.Contains(lowered, text); got != want {
			t.Errorf("%q in %q: %v", text, b, got)
		}
	})
}
