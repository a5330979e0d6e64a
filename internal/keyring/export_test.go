package keyring

import "bytes"

// Summed is a file with the checksum that its bytes should have, where it has
// one.
func Summed(b []byte) []byte {
	b = bytes.Clone(b)
	if _, want, at := sums(b); at > 0 {
		copy(b[at:], want)
	}
	return b
}
