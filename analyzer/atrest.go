package analyzer

import (
	"log/slog"
	"os"

	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/internal/keyring"
)

// ownMaster is the master key of this process's environment, for those who work
// on a data directory without an analyzer; nil where none is set.
func ownMaster() (*keyring.Master, error) {
	env := daemon.NewEnv(os.LookupEnv)
	m := keyring.LoadMaster(env)
	return m, env.Err()
}

// keyHint says what helps when a data directory and the key do not go together;
// nil where that is not what is wrong.
func keyHint(err error) error {
	if hint := keyring.Hint(err); hint != "" {
		return &daemon.Hinted{Err: err, Hint: hint}
	}
	return nil
}

// sayAtRest tells whether what is stored is encrypted.
func (a *Analyzer) sayAtRest() {
	if a.store.Encrypted() {
		a.log.Info("What is stored is encrypted; the index of metadata is not", slog.String("index", "method, host, path, query string, addresses, sizes, tags"))
		return
	}
	a.log.Info("Not encrypted at rest: " + keyring.Variable + " is not set")
}
