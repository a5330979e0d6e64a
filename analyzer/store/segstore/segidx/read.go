package segidx

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"os"

	"github.com/weir-capture/weir/internal/vfs"
	"github.com/weir-capture/weir/query"
)

// File is an open file. It is for one goroutine.
type File struct {
	f        vfs.File
	name     string
	seg      Segment
	matrices []matrix
	dirAt    int64
	dirLen   int
	size     int64
	key      *Key
	// page is the last one that was read.
	page []byte
}

// Open opens the file of a segment, which is to be of the records in [base,
// end), with words that are keyed with key. Of the file only the head is read.
// Errors: fs.ErrNotExist when there is none.
func Open(d vfs.FS, segment string, base, end uint64, key *Key) (*File, error) {
	name := Name(segment)
	f, err := d.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("open index of segment: %w", err)
	}
	x := &File{f: f, name: name, key: key}
	if err = x.open(); err == nil && (x.seg.Base != base || x.seg.End != end) {
		err = useless("it is of offsets %d to %d, the segment has %d to %d", x.seg.Base, x.seg.End, base, end)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", name, err), f.Close())
	}
	return x, nil
}

// Close closes the file.
func (x *File) Close() error { return x.f.Close() }

// Size is the file's length.
func (x *File) Size() int64 { return x.size }

// Segment is what the file says of its segment.
func (x *File) Segment() Segment { return x.seg }

// read fills b from at, and checks the sum that stands at b's end.
func (x *File) read(b []byte, at int64) error {
	n, err := x.f.ReadAt(b, at)
	if n < len(b) {
		if errors.Is(err, fs.ErrClosed) {
			return err
		}
		return useless("read %d bytes at %d: %w", len(b), at, err)
	}
	sum := len(b) - crcLen
	if crc32.Checksum(b[:sum], castagnoli) != binary.LittleEndian.Uint32(b[sum:]) {
		return useless("the checksum of the %d bytes at %d is wrong", len(b), at)
	}
	return nil
}

func (x *File) open() error {
	var b [headerLen]byte
	if err := x.read(b[:], 0); err != nil {
		return err
	}
	if !bytes.HasPrefix(b[:], magic) {
		return useless("it does not begin as one")
	}
	if want := versionFor(x.key); b[8] != want {
		return useless("it has version %d, this program wants %d", b[8], want)
	}
	u64 := func(at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
	classes := binary.LittleEndian.Uint32(b[12:])
	x.seg = Segment{
		Base: u64(16), End: u64(24), TimeMin: int64(u64(32)), TimeMax: int64(u64(40)),
		Pairs: u64(48), Frames: int(u64(56)),
	}
	dirLen, size := u64(64), u64(72)
	length, err := x.f.Size()
	if err != nil {
		return fmt.Errorf("read length: %w", err)
	}
	x.size = length
	switch {
	case u64(56) > maxFrames, x.seg.End < x.seg.Base, u64(56) > (x.seg.End-x.seg.Base)/minRecord,
		classes > keys, dirLen < crcLen, dirLen > maxDirectory, size != uint64(length):
		return useless("its header makes no sense")
	}
	table := make([]byte, int(classes)*classLen+crcLen)
	if err := x.read(table, headerLen); err != nil {
		return err
	}
	x.dirAt, x.dirLen = int64(headerLen+len(table)), int(dirLen)
	at, columns := x.dirAt+int64(x.dirLen), 0
	for i := range int(classes) {
		e := table[i*classLen:]
		m := matrix{
			key:     int(binary.LittleEndian.Uint32(e)),
			columns: int(binary.LittleEndian.Uint32(e[8:])),
			at:      int64(binary.LittleEndian.Uint64(e[16:])),
		}
		if m.key < salts || m.key >= keys || m.columns < 1 || m.columns > x.seg.Frames || m.at != at ||
			i > 0 && m.key <= x.matrices[i-1].key ||
			binary.LittleEndian.Uint32(e[4:]) != uint32(m.bits()) || binary.LittleEndian.Uint32(e[12:]) != uint32(m.pageRows()) {
			return useless("its table of classes makes no sense")
		}
		x.matrices = append(x.matrices, m)
		at += m.size()
		columns += m.columns
	}
	if at != length || columns > x.seg.Frames {
		return useless("its table of classes makes no sense")
	}
	return nil
}

// Directory reads all frames, in the order of the log.
func (x *File) Directory() ([]Frame, error) {
	b := make([]byte, x.dirLen)
	if err := x.read(b, x.dirAt); err != nil {
		return nil, fmt.Errorf("read directory of %s: %w", x.name, err)
	}
	frames, err := x.directory(b[:len(b)-crcLen])
	if err != nil {
		return nil, fmt.Errorf("read directory of %s: %w", x.name, err)
	}
	return frames, nil
}

func (x *File) directory(b []byte) ([]Frame, error) {
	bad := useless("its directory makes no sense")
	const least = 8 // bytes of an entry
	if len(b) < least*x.seg.Frames {
		return nil, bad
	}
	frames := make([]Frame, x.seg.Frames)
	var columns [keys]uint32
	uint := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			b = nil
			return math.MaxUint64
		}
		b = b[n:]
		return v
	}
	end, last := x.seg.Base, int64(0)
	for i := range frames {
		if len(b) < least {
			return nil, bad
		}
		key, flags := b[0], b[1]
		b = b[2:]
		gap, length, rows, raw := uint(), uint(), uint(), uint()
		delta, n := binary.Varint(b)
		if n <= 0 || key >= keys || key > 0 && key < salts || flags&^knownFlags != 0 {
			return nil, bad
		}
		b = b[n:]
		width := uint()
		left := x.seg.End - end
		if gap > left || length > left-gap || rows > math.MaxUint32 || raw > math.MaxUint32 || width > math.MaxInt64 {
			return nil, bad
		}
		f := &frames[i]
		*f = Frame{
			Off: end + gap, Next: end + gap + length, Rows: uint32(rows), Raw: uint32(raw),
			TimeMin: last + delta, TimeMax: last + delta + int64(width), Encoded: flags&flagEncoded != 0,
			key: key,
		}
		if key > 0 {
			f.column = columns[key]
			columns[key]++
		}
		end, last = f.Next, f.TimeMin
	}
	for _, m := range x.matrices {
		if columns[m.key] != uint32(m.columns) {
			return nil, bad
		}
		columns[m.key] = 0
	}
	if len(b) != 0 || columns != [keys]uint32{} || summary(x.seg.Base, x.seg.End, frames) != x.seg {
		return nil, bad
	}
	return frames, nil
}

// Candidates are the frames of a file that may have what was needed.
type Candidates struct{ rows [keys][]byte }

// Has reports whether a frame of the file's Directory is one.
func (c *Candidates) Has(f *Frame) bool {
	row := c.rows[f.key]
	return row == nil || row[f.column/8]&(1<<(f.column%8)) != 0
}

// Candidates reads which frames may have what is needed.
func (x *File) Candidates(n *query.Need) (*Candidates, error) {
	c := new(Candidates)
	for _, m := range x.matrices {
		row, err := x.row(m, n)
		if err != nil {
			return nil, fmt.Errorf("read words of %s: %w", x.name, err)
		}
		c.rows[m.key] = row
	}
	return c, nil
}

// row is a bit for each column of m; nil when all of them are set.
func (x *File) row(m matrix, n *query.Need) ([]byte, error) {
	switch {
	case n == nil:
		return nil, nil
	case n.All != nil:
		var all []byte
		for _, c := range n.All {
			row, err := x.row(m, c)
			if err != nil {
				return nil, err
			}
			all = and(all, row)
		}
		return all, nil
	case n.Any != nil:
		some := make([]byte, m.stride())
		for _, c := range n.Any {
			row, err := x.row(m, c)
			if err != nil || row == nil {
				return nil, err
			}
			for i, b := range row {
				some[i] |= b
			}
		}
		return some, nil
	}
	var all []byte
	for _, w := range n.Words {
		if len(w) < minWord {
			continue
		}
		h := salted(x.key.of(hash([]byte(w))), m.key%salts)
		for i := range probes {
			row, err := x.bits(m, bit(h, i, m.bits()))
			if err != nil {
				return nil, err
			}
			all = and(all, row)
		}
	}
	return all, nil
}

// and keeps in all what is in row too; nil stands for everything. row is not
// kept.
func and(all, row []byte) []byte {
	if row == nil {
		return all
	}
	if all == nil {
		return bytes.Clone(row)
	}
	for i, b := range row {
		all[i] &= b
	}
	return all
}

// bits reads one row of a matrix; it is overwritten by the next.
func (x *File) bits(m matrix, row int) ([]byte, error) {
	n := m.pageLen() + crcLen
	if cap(x.page) < n {
		x.page = make([]byte, n)
	}
	x.page = x.page[:n]
	if err := x.read(x.page, m.at+int64(row/m.pageRows())*int64(n)); err != nil {
		return nil, err
	}
	at := row % m.pageRows() * m.stride()
	return x.page[at : at+m.stride()], nil
}

// Check reads the whole file.
func (x *File) Check() ([]Frame, error) {
	frames, err := x.Directory()
	if err != nil {
		return nil, err
	}
	for _, m := range x.matrices {
		for row := 0; row < m.bits(); row += m.pageRows() {
			if _, err := x.bits(m, row); err != nil {
				return nil, fmt.Errorf("read words of %s: %w", x.name, err)
			}
		}
	}
	return frames, nil
}
