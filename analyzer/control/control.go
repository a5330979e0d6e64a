// Package control is the analyzer's control store: who may come in (users,
// passwords, sessions, keys, one-time setup links), what the deployment shares
// (the key of redaction), which forwarder a spool belongs to, the views that
// people save, and the audit log. It is a SQLite database in a file, or
// PostgreSQL for several analyzers; the same SQL serves both.
//
// It knows nothing of pairs and nothing of HTTP. What it is asked with is
// checked and bounded here; what it answers never tells whether a name exists
// to somebody who cannot sign in.
package control

import (
	"errors"
	"fmt"
)

var (
	// ErrDenied: a name, password, token or key does not open anything. It says
	// no more than that: unknown, wrong, locked, expired and disabled are alike.
	ErrDenied = errors.New("denied")
	// ErrNotFound: there is no such user, key, view or binding.
	ErrNotFound = errors.New("not found")
	// ErrExists: the name is taken, or what happens only once has happened.
	ErrExists = errors.New("exists already")
	// ErrBusy: more people sign in at once than the machine can check
	// passwords for. Trying again a little later is right.
	ErrBusy = errors.New("too many sign-ins at once")
)

// ErrInvalid is an argument that is refused: which, what is wrong with it, and
// what would be right.
type ErrInvalid struct{ Field, Problem, Want string }

// Error names the field, the problem and what would be right.
func (e ErrInvalid) Error() string {
	return fmt.Sprintf("%s %s: want %s", e.Field, e.Problem, e.Want)
}

// ErrNewer: the database was written by a later version of the program.
type ErrNewer struct {
	// Has and Knows are numbers of migrations: the database's, the program's.
	Has, Knows int
}

// Error says both versions and the two ways out.
func (e ErrNewer) Error() string {
	return fmt.Sprintf("the control store has schema %d, and this program knows %d: it was opened by a newer version; run that one, or restore a backup that this one made", e.Has, e.Knows)
}
