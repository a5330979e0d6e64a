package statedir

import (
	"os"
	"path/filepath"
	"testing"
)

func TestChoose(t *testing.T) {
	system, file := t.TempDir(), filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	env := func(kv ...string) func(string) string {
		return func(k string) string {
			for i := 0; i < len(kv); i += 2 {
				if kv[i] == k {
					return kv[i+1]
				}
			}
			return ""
		}
	}
	for _, c := range []struct {
		system string
		env    func(string) string
		want   string
	}{
		{system, env("HOME", "/h"), filepath.Join(system, "weir/spool")},
		{file, env("HOME", "/h"), "/h/.local/state/weir/spool"}, // a file stands in the way
		{file, env("HOME", "/h", "XDG_STATE_HOME", "/s"), "/s/weir/spool"},
		{file, env("HOME", "/h", "XDG_STATE_HOME", "relative"), "/h/.local/state/weir/spool"},
		{file, env(), filepath.Join(file, "weir/spool")},
	} {
		if got := choose(c.system, c.env, "spool"); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}
