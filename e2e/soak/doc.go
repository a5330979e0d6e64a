// Package soak runs the three programs for a long time under a mixed load, of
// which one connection in twenty is broken off, and judges what only time
// shows: whether memory, goroutines and descriptors stay where they are,
// whether a client ever notices, and whether in the end everything that was
// seen is accounted for.
//
// `make soak` runs it for an hour; `make test` runs its short form.
package soak
