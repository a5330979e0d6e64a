// Package slotfile keeps one small value durably in a file that never grows:
// a full disk cannot keep it from being written. Two slots are written in
// turn, so that a crash in the middle of a write leaves the value before.
package slotfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"

	"github.com/weir-capture/weir/internal/atomicfile"
	"github.com/weir-capture/weir/internal/vfs"
)

// A slot is: magic, sequence, length, checksum of the two and the value, the
// value. Little endian.
const (
	magic     = "WSL1"
	headerLen = 4 + 8 + 4 + 4
)

// ErrDamaged: neither slot is whole.
var ErrDamaged = errors.New("both slots are damaged")

// File is an open slot file. It is for one goroutine at a time.
type File struct {
	f    vfs.File
	size int64
	seq  uint64 // of the value that is durable
}

// Open opens the file, or makes it with room for values of up to size bytes,
// and gives the value that it has (nil for a new one). With ErrDamaged the
// File is usable and empty. A larger file keeps its size; one that is shorter
// was cut and is made whole, and what it has still counts.
func Open(d vfs.FS, name string, size int) (*File, []byte, error) {
	fail := func(err error) (*File, []byte, error) {
		return nil, nil, fmt.Errorf("open slot file %s: %w", name, err)
	}
	f, err := d.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		// Zeros that are really written, so that the blocks are ours.
		if err := atomicfile.Write(d, name, make([]byte, 2*(headerLen+size))); err != nil {
			return nil, nil, err
		}
		f, err = d.OpenFile(name, os.O_RDWR, 0)
	}
	if err != nil {
		return fail(err)
	}
	length, err := f.Size()
	if err != nil {
		return fail(errors.Join(err, f.Close()))
	}
	if length > 64<<20 {
		return fail(errors.Join(fmt.Errorf("length is %d", length), f.Close()))
	}
	s := &File{f: f, size: max(int64(headerLen+size), length/2)}
	var value []byte
	blank := 0
	for i := range int64(2) {
		b := make([]byte, s.size)
		n := max(0, min(s.size, length-i*s.size))
		// A slot that the disk won't read is damaged like another.
		if m, err := f.ReadAt(b[:n], i*s.size); int64(m) < n && err != nil {
			b[0] = ^magic[0]
		}
		seq, v, ok := parse(b)
		if ok && seq%2 == uint64(i) && seq > s.seq {
			s.seq, value = seq, v
		}
		if len(bytes.Trim(b, "\x00")) == 0 {
			blank++
		}
	}
	if err := s.extend(length); err != nil {
		return fail(errors.Join(err, f.Close()))
	}
	// Damage beside a slot that was never written is the first write, torn.
	if s.seq == 0 && (blank == 0 || length < 2*s.size) {
		return s, nil, fmt.Errorf("open slot file %s: %w", name, ErrDamaged)
	}
	return s, value, nil
}

// extend gives back what was cut from a file. A full disk does not keep it
// from being used: Store will say so, if it needs the room.
func (s *File) extend(length int64) error {
	if length >= 2*s.size {
		return nil
	}
	_, err := s.f.WriteAt(make([]byte, 2*s.size-length), length)
	if err == nil {
		err = s.f.Sync()
	}
	if vfs.IsFull(err) {
		return nil
	}
	return err
}

func parse(b []byte) (seq uint64, value []byte, ok bool) {
	if len(b) < headerLen || string(b[:4]) != magic {
		return 0, nil, false
	}
	n := binary.LittleEndian.Uint32(b[12:])
	if uint64(n) > uint64(len(b)-headerLen) {
		return 0, nil, false
	}
	value = b[headerLen : headerLen+int(n)]
	if checksum(b[4:16], value) != binary.LittleEndian.Uint32(b[16:]) {
		return 0, nil, false
	}
	return binary.LittleEndian.Uint64(b[4:]), value, true
}

func checksum(fields, value []byte) uint32 {
	t := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(fields, t), t, value)
}

// Store makes value durable. After an error the value before it stands.
func (s *File) Store(value []byte) error {
	if int64(headerLen+len(value)) > s.size {
		return fmt.Errorf("store %d bytes: a slot takes %d", len(value), s.size-headerLen)
	}
	seq := s.seq + 1
	b := make([]byte, 0, headerLen+len(value))
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint64(b, seq)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(value)))
	b = binary.LittleEndian.AppendUint32(b, checksum(b[4:16], value))
	b = append(b, value...)
	if _, err := s.f.WriteAt(b, int64(seq%2)*s.size); err != nil {
		return fmt.Errorf("store value: %w", err)
	}
	if err := s.f.Sync(); err != nil {
		return fmt.Errorf("store value: %w", err)
	}
	s.seq = seq
	return nil
}

// Close closes the file.
func (s *File) Close() error { return s.f.Close() }
