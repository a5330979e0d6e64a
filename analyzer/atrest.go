package analyzer

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/internal/keyring"
	"github.com/weir-capture/weir/seglog"
)

// loadMaster reads ENCRYPTION_KEY; nil where it is not set.
func loadMaster(env *daemon.Env) *keyring.Master {
	text := env.Secret(keyring.Variable)
	if text == "" {
		return nil
	}
	m, err := keyring.ParseMaster(text)
	if err != nil {
		env.FailSecret(keyring.Variable, err.Error(), "32 random bytes in base64 or hexadecimal digits; while a key is being changed the new one, a comma, the old one")
		return nil
	}
	return m
}

// ownMaster is loadMaster of this process's environment, for those who work on
// a data directory without an analyzer.
func ownMaster() (*keyring.Master, error) {
	env := daemon.NewEnv(os.LookupEnv)
	m := loadMaster(env)
	return m, env.Err()
}

// keyHint says what helps when a data directory and the key do not go together;
// nil where that is not what is wrong.
func keyHint(err error) error {
	if _, ok := errors.AsType[*seglog.EncryptedError](err); ok {
		return &daemon.Hinted{Err: err, Hint: fmt.Sprintf("set %s, or %s_FILE, to the key that the data was encrypted with", keyring.Variable, keyring.Variable)}
	}
	if errors.Is(err, keyring.ErrWrongKey) {
		return &daemon.Hinted{Err: err, Hint: fmt.Sprintf("set %s, or %s_FILE, to the key that the data was encrypted with; to change it, to the new one, a comma, and the old one. Nothing was touched.", keyring.Variable, keyring.Variable)}
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
