package keyring_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weir-capture/weir/internal/keyring"
)

// settings are those of a test; what is wrong is told to them.
type settings struct{ value, wrong string }

func (s *settings) Secret(string) string { return s.value }
func (s *settings) FailSecret(name, problem, want string) {
	s.wrong = name + ": " + problem + "; " + want
}

func TestLoadMaster(t *testing.T) {
	for value, wrong := range map[string]string{
		"": "", strings.Repeat("ab", 32): "", strings.Repeat("ab", 31): "46 bytes long", "secret words!": "neither base64 nor",
		strings.Repeat("ab", 32) + "," + strings.Repeat("cd", 32): "",
	} {
		s := &settings{value: value}
		m := keyring.LoadMaster(s)
		if (m != nil) != (value != "" && wrong == "") || !strings.Contains(s.wrong, wrong) || wrong == "" && s.wrong != "" || value != "" && strings.Contains(s.wrong, value) {
			t.Errorf("%q: %v, told %q", value, m != nil, s.wrong)
		}
	}
}

func TestHint(t *testing.T) {
	for err, want := range map[error]string{
		fmt.Errorf("open: %w", keyring.ErrNoMaster): "to the key", fmt.Errorf("open: %w", &keyring.WrongKeyError{Path: "x"}): "the old one", keyring.ErrShredded: "",
	} {
		if got := keyring.Hint(err); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%v: %q", err, got)
		}
	}
}
