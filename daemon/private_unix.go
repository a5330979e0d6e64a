//go:build unix

package daemon

import "syscall"

// Private makes every file that the process creates from here on its user's
// alone, also those that a library creates with a mode of its own: what was
// captured is nobody else's. It is for the beginning of a program.
func Private() { syscall.Umask(0o077) }
