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

// Unsalted is a segment file without what differs from run to run: salt, time,
// and the checksums over them.
func Unsalted(b []byte) []byte {
	b = bytes.Clone(b)
	clear(b[12:16])
	clear(b[32:40])
	clear(b[60:64])
	for at := segmentHeaderLen; len(b)-at >= recordHeaderLen; {
		h := b[at : at+recordHeaderLen]
		clear(h[16:20])
		clear(h[36:40])
		at += recordHeaderLen + int(binary.LittleEndian.Uint32(h[20:])+binary.LittleEndian.Uint32(h[24:]))
	}
	return b
}
