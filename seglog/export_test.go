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

// Moved is a record as it would have to look at another offset of another
// file, as far as one can tell who has no key.
func Moved(record []byte, offset uint64, file []byte) []byte {
	b := bytes.Clone(record)
	copy(b[16:20], file[12:16])
	copy(b[6:8], file[40:42])
	binary.LittleEndian.PutUint64(b[8:], offset)
	binary.LittleEndian.PutUint32(b[36:], crc32.Checksum(b[:36], castagnoli))
	return b
}

// Nonces are those of all records of an encrypted file.
func Nonces(b []byte) (list []string) {
	for at := segmentHeaderLen; len(b)-at >= recordHeaderLen; {
		h := b[at : at+recordHeaderLen]
		head := int(binary.LittleEndian.Uint32(h[20:]))
		list = append(list, string(b[at+recordHeaderLen:][:nonceLen]), string(b[at+recordHeaderLen+head:][:nonceLen]))
		at += recordHeaderLen + head + int(binary.LittleEndian.Uint32(h[24:]))
	}
	return list
}
