// Package statedir says where a program keeps its files when nobody says.
package statedir

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Default is /var/lib/weir/name where that can be written, else weir/name
// under XDG_STATE_HOME (by default ~/.local/state). It makes nothing.
func Default(name string) string { return choose("/var/lib", os.Getenv, name) }

func choose(system string, getenv func(string) string, name string) string {
	dir := filepath.Join(system, "weir", name)
	if writable(dir) {
		return dir
	}
	if state := getenv("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, "weir", name)
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "weir", name)
	}
	return dir // and the error that writing there gives
}

// writable: dir, or the nearest directory above it that exists, lets us make
// what is missing.
func writable(dir string) bool {
	for {
		st, err := os.Stat(dir)
		if err == nil {
			return st.IsDir() && unix.Access(dir, unix.W_OK|unix.X_OK) == nil
		}
		parent := filepath.Dir(dir)
		if !os.IsNotExist(err) || parent == dir {
			return false
		}
		dir = parent
	}
}

// ControlSocket is the name, within the analyzer's data directory, of the
// socket on which it serves its API to programs of the same user.
const ControlSocket = "control.sock"
