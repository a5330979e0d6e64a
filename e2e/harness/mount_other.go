//go:build !linux

package harness

import (
	"errors"
	"testing"
)

// Tmpfs is for Linux only.
func Tmpfs(testing.TB, int64) (string, error) {
	return "", errors.New("only Linux has file systems in memory of a given size")
}
