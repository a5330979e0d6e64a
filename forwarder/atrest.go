package forwarder

import (
	"errors"

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

// keyHint says what helps when a spool and the key do not go together; empty
// where that is not what is wrong.
func keyHint(err error) string {
	if _, ok := errors.AsType[*seglog.EncryptedError](err); ok {
		return "Set " + keyring.Variable + ", or " + keyring.Variable + "_FILE, to the key that the spool was encrypted with."
	}
	if errors.Is(err, keyring.ErrWrongKey) {
		return "Set " + keyring.Variable + ", or " + keyring.Variable + "_FILE, to the key that the spool was encrypted with; to change it, to the new one, a comma, and the old one. Nothing was touched."
	}
	return ""
}
