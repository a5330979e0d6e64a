//go:build !linux && !darwin

package main

import "context"

// passwords: how a terminal is silenced is not known here; --password-stdin
// works everywhere.
func passwords() func(context.Context, string) (string, error) { return nil }
