package keyring

import "errors"

// ErrNoMaster: what is encrypted was to be read, and no master key was set.
var ErrNoMaster = errors.New("no master key is set")

// Settings is where a program's settings come from; *daemon.Env is one.
type Settings interface {
	// Secret is a variable's value, of itself or of the file that it names.
	Secret(name string) string
	// FailSecret says what is wrong with one, without its value.
	FailSecret(name, problem, want string)
}

// LoadMaster reads Variable; nil where it is not set or, which is told, wrong.
func LoadMaster(from Settings) *Master {
	text := from.Secret(Variable)
	if text == "" {
		return nil
	}
	m, err := ParseMaster(text)
	if err != nil {
		from.FailSecret(Variable, err.Error(), "32 random bytes in base64 or hexadecimal digits; while a key is being changed the new one, a comma, the old one")
		return nil
	}
	return m
}

// Hint says what helps when data and key do not go together; empty where that
// is not what is wrong.
func Hint(err error) string {
	const set = "Set " + Variable + ", or " + Variable + "_FILE, to the key that the data was encrypted with"
	switch {
	case errors.Is(err, ErrNoMaster):
		return set + "."
	case errors.Is(err, ErrWrongKey):
		return set + "; to change it, to the new one, a comma, and the old one. Nothing was touched."
	}
	return ""
}
