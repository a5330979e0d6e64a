package segidx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"

	"github.com/weir-capture/weir/internal/vfs"
)

// Entry is a frame with its words.
type Entry struct {
	Frame
	Bloom Bloom
}

// Write makes the file of a segment from all of its records that hold pairs,
// in the order of the log, and returns its length when it is durable. After a
// crash there is the whole file or none. The words of all entries are keyed
// with key.
func Write(d vfs.FS, segment string, base, end uint64, entries []Entry, key *Key) (size int64, err error) {
	name := Name(segment)
	if size, err = write(d, name, base, end, entries, key); err != nil {
		return 0, fmt.Errorf("write %s: %w", name, err)
	}
	return size, nil
}

const tempSuffix = ".tmp"

func write(d vfs.FS, name string, base, end uint64, entries []Entry, key *Key) (_ int64, err error) {
	temp := name + tempSuffix
	f, err := d.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, err
	}
	w := &writer{f: f, version: versionFor(key)}
	if err = f.Truncate(0); err == nil {
		w.file(base, end, entries)
		if err = w.err; err == nil {
			err = f.Sync()
		}
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, errors.Join(err, d.Remove(temp))
	}
	if err := d.Rename(temp, name); err != nil {
		return 0, errors.Join(err, d.Remove(temp))
	}
	return w.at, d.SyncDir()
}

// writer writes one after another, until something fails.
type writer struct {
	f       vfs.File
	version byte
	at      int64
	err     error
}

func versionFor(key *Key) byte {
	if key != nil {
		return VersionKeyed
	}
	return Version
}

func (w *writer) put(b []byte) {
	if w.err == nil {
		_, w.err = w.f.WriteAt(b, w.at)
	}
	w.at += int64(len(b))
}

// checked appends the checksum of what stands behind from.
func checked(b []byte, from int) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[from:], castagnoli))
}

func (w *writer) file(base, end uint64, entries []Entry) {
	var columns [keys][]*Entry
	frames := make([]Frame, len(entries))
	for i := range entries {
		e := &entries[i]
		e.key = uint8(e.Bloom.key)
		if e.key > 0 {
			e.column = uint32(len(columns[e.key]))
			columns[e.key] = append(columns[e.key], e)
		}
		frames[i] = e.Frame
	}
	dir := appendDirectory(nil, base, frames)
	var matrices []matrix
	at := int64(headerLen)
	for key, c := range columns {
		if len(c) > 0 {
			matrices = append(matrices, matrix{key: key, columns: len(c)})
		}
	}
	at += int64(len(matrices)*classLen+crcLen) + int64(len(dir))
	var table []byte
	for i := range matrices {
		m := &matrices[i]
		m.at = at
		at += m.size()
		table = binary.LittleEndian.AppendUint32(table, uint32(m.key))
		table = binary.LittleEndian.AppendUint32(table, uint32(m.bits()))
		table = binary.LittleEndian.AppendUint32(table, uint32(m.columns))
		table = binary.LittleEndian.AppendUint32(table, uint32(m.pageRows()))
		table = binary.LittleEndian.AppendUint64(table, uint64(m.at))
	}
	w.put(appendHeader(nil, w.version, summary(base, end, frames), len(matrices), len(dir), at))
	w.put(checked(table, 0))
	w.put(dir)
	for _, m := range matrices {
		w.matrix(m, columns[m.key])
	}
}

func appendHeader(b []byte, version byte, s Segment, classes, dirLen int, size int64) []byte {
	b = append(b, magic...)
	b = append(b, version, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(classes))
	b = binary.LittleEndian.AppendUint64(b, s.Base)
	b = binary.LittleEndian.AppendUint64(b, s.End)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.TimeMin))
	b = binary.LittleEndian.AppendUint64(b, uint64(s.TimeMax))
	b = binary.LittleEndian.AppendUint64(b, s.Pairs)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.Frames))
	b = binary.LittleEndian.AppendUint64(b, uint64(dirLen))
	b = binary.LittleEndian.AppendUint64(b, uint64(size))
	b = append(b, make([]byte, headerLen-crcLen-len(b))...)
	return checked(b, 0)
}

// Flags of a directory's entry.
const (
	flagEncoded = 1 << 0
	knownFlags  = flagEncoded
)

func appendDirectory(b []byte, base uint64, frames []Frame) []byte {
	from := len(b)
	end, last := base, int64(0)
	for _, f := range frames {
		var flags byte
		if f.Encoded {
			flags |= flagEncoded
		}
		b = append(b, f.key, flags)
		b = binary.AppendUvarint(b, f.Off-end)
		b = binary.AppendUvarint(b, f.Next-f.Off)
		b = binary.AppendUvarint(b, uint64(f.Rows))
		b = binary.AppendUvarint(b, uint64(f.Raw))
		b = binary.AppendVarint(b, f.TimeMin-last)
		b = binary.AppendUvarint(b, uint64(f.TimeMax-f.TimeMin))
		end, last = f.Next, f.TimeMin
	}
	return checked(b, from)
}

// matrix writes the blooms of one matrix, transposed. Some rows are made at a
// time, from a few bytes of each bloom, so that it takes little memory beside
// the blooms.
func (w *writer) matrix(m matrix, columns []*Entry) {
	stride, pageRows := m.stride(), m.pageRows()
	block := make([]byte, maxPageRows*stride)
	page := make([]byte, 0, m.pageLen()+crcLen)
	for row := 0; row < m.bits() && w.err == nil; row += maxPageRows {
		clear(block)
		for c := 0; c < len(columns); c += 8 {
			group := columns[c:min(c+8, len(columns))]
			for r := 0; r < maxPageRows; r += 8 {
				var x uint64
				for i, e := range group {
					x |= uint64(e.Bloom.bits[(row+r)/8]) << (8 * i)
				}
				x = transpose(x)
				for i := range 8 {
					block[(r+i)*stride+c/8] = byte(x >> (8 * i))
				}
			}
		}
		for r := 0; r < maxPageRows; r += pageRows {
			page = append(page[:0], block[r*stride:(r+pageRows)*stride]...)
			w.put(checked(page, 0))
		}
	}
}

// transpose exchanges rows and columns of an 8 by 8 matrix of bits, whose rows
// are the bytes.
func transpose(x uint64) uint64 {
	t := (x ^ x>>7) & 0x00aa00aa00aa00aa
	x ^= t ^ t<<7
	t = (x ^ x>>14) & 0x0000cccc0000cccc
	x ^= t ^ t<<14
	t = (x ^ x>>28) & 0x00000000f0f0f0f0
	return x ^ t ^ t<<28
}
