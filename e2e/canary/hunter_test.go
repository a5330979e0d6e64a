package canary

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/weir-capture/weir/e2e/ledger"
)

// silent counts what would have failed the test.
type silent struct {
	testing.TB
	errors int
}

func (s *silent) Helper()               {}
func (s *silent) Errorf(string, ...any) { s.errors++ }

// TestHunter: each secret in each form is found, wherever it stands among
// other bytes, packed or not; without one nothing is.
func TestHunter(t *testing.T) {
	secrets := Secrets(*seed)
	around := ledger.Noise([16]byte{1}, 0, 64<<10)
	s := &silent{TB: t}
	h := NewHunter(s, secrets)
	h.Look("noise", around)
	if h.Hits > 0 {
		t.Fatalf("%d hits in noise", h.Hits)
	}
	for _, secret := range secrets {
		for name, text := range Forms(secret) {
			for _, at := range []int{0, 1, 33, len(around)} {
				before := h.Hits
				h.Look("", bytes.Join([][]byte{around[:at], text, around[at:]}, nil))
				if h.Hits == before {
					t.Errorf("%s, %s, at %d is not found", secret.Kind, name, at)
				}
			}
		}
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "a")
	frame := bytes.Join([][]byte{around[:99], packed("zstd", "it is "+secrets[0].Value), around[:99]}, nil)
	if err := os.WriteFile(file, frame, 0o600); err != nil {
		t.Fatal(err)
	}
	before := h.Hits
	h.Dir(dir)
	found := h.Hits
	h.Dir(dir) // what did not change is not read again
	if found == before || h.Hits != found {
		t.Errorf("a packed secret: %d hits, then %d", found-before, h.Hits-found)
	}
	if h.Files != 1 || h.Frames != 1 {
		t.Errorf("%d files and %d frames were looked through, not one of each", h.Files, h.Frames)
	}
	before = h.Hits
	if err := os.WriteFile(file, append(frame, secrets[1].Value...), 0o600); err != nil {
		t.Fatal(err)
	}
	h.Dir(dir)
	if h.Hits < before+2 || s.errors == 0 {
		t.Errorf("a file that grew: %d hits, %d errors", h.Hits-before, s.errors)
	}
}
