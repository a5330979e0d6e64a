package seglog

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// WithVersion is a segment file that claims another format version.
func WithVersion(b []byte, version byte) []byte {
	b = bytes.Clone(b)
	b[8] = version
	binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return b
}
