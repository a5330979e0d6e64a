package admit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-capture/weir/internal/grpcdoor"
)

const (
	first  = "first-token-0123456789"
	second = "second-token-0123456789"
)

func hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# proxies\n\npod-1 " + first + "\r\n\tcheckout-* " + hash(second) + "\ncart-* " + second)
	f, err := Open(path, func() {}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	one, err := f.Token(context.Background(), first)
	if err != nil {
		t.Fatal(err)
	}
	two, err := f.Token(context.Background(), second)
	if err != nil || one.ID == two.ID || strings.Contains(one.ID+one.Name, first) {
		t.Errorf("%+v, %+v, %v", one, two, err)
	}
	for _, c := range []struct {
		id   grpcdoor.Identity
		pod  string
		want bool
	}{
		{one, "pod-1", true},
		{one, "pod-11", false},
		{one, "checkout-1", false},
		{two, "checkout-1", true},
		{two, "cart-9", true},
		{two, "pod-1", false},
		{two, "xcheckout-1", false},
		{grpcdoor.Identity{}, "anything", true},
	} {
		if got := May(c.id, c.pod); got != c.want {
			t.Errorf("%s as %s: %v", c.id.Name, c.pod, got)
		}
	}
	for _, wrong := range []string{"", first + "x", first[:len(first)-1], hash(first), "pod-1"} {
		if _, err := f.Token(context.Background(), wrong); !errors.Is(err, grpcdoor.ErrDenied) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"pod-1":                                "line 1: want a name and a token",
		"# x\npod-1 a b":                       "line 2: want a name and a token",
		"pod-1 short":                          "line 1: a token of 5 bytes, want 16 to 512",
		"pod-1 sha256:abc":                     "line 1: behind \"sha256:\" want 64 hexadecimal digits",
		strings.Repeat("x", 254) + " " + first: "line 1: a name of 254 bytes, at most 253",
		"pod-1 " + first + "\nx\n\ny":          "line 2: want a name and a token, with a space between them\nline 4: want",
		"pod-\xff " + first:                    "line 1: want a name and a token",
		strings.Repeat("x\n", 50):              "and more",
	} {
		_, err := Parse([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
		if err != nil && strings.Contains(err.Error(), first) {
			t.Errorf("the error shows a token: %v", err)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"a", "a", true},
		{"a", "b", false},
		{"*", "", true},
		{"*", "a/../b", true},
		{"a*", "a", true},
		{"a*", "ab", true},
		{"a*", "ba", false},
		{"*a", "ba", true},
		{"a*a", "a", false},
		{"a*a", "aa", true},
		{"a*b*c", "axbxc", true},
		{"a*b*c", "axcxb", false},
		{"a**c", "abc", true},
		{"a*bc*bc", "abc", false},
		{"a*bc*bc", "abcbc", true},
	} {
		if got := matches(c.pattern, c.text); got != c.want {
			t.Errorf("%s of %s: %v", c.pattern, c.text, got)
		}
	}
}

// FuzzParse: whatever a file holds, a mistake names a line that it has, and no
// text fits a pattern that says otherwise.
func FuzzParse(f *testing.F) {
	f.Add([]byte("pod-1 " + first + "\n# x\n"))
	f.Add([]byte("a sha256:00\nb"))
	f.Add([]byte("*a*b* " + hash(first)))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := Parse(data)
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				var n int
				if _, serr := fmt.Sscanf(line, "line %d:", &n); serr != nil && line != "and more" || n > 1+strings.Count(string(data), "\n") {
					t.Errorf("%q: %v", data, err)
				}
			}
			return
		}
		for _, names := range l.names {
			for _, name := range names {
				if !matches(name, name) {
					t.Errorf("%q does not fit itself", name)
				}
			}
		}
	})
}
