package segstore

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/internal/rangeset"
)

// The state stands at the head of every segment: a version byte, then spools
// (their count; id, next, when seen, 1 and offset and checksum of the highest
// frame or 0, ranges above next) and epochs (their count; id, when seen,
// ranges of batches that are here, ranges of those that are lost). Numbers are
// unsigned varints; ranges are their count, then first and length less one.
//
// Version 1 had of a spool id, next and when seen, and of an epoch one set of
// ranges, of batches that are here.
const stateVersion = 2

func (d *delivery) encode() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := []byte{stateVersion}
	b = binary.AppendUvarint(b, uint64(len(d.spools)))
	for id, s := range d.spools {
		b = append(b, id[:]...)
		b = binary.AppendUvarint(b, s.next)
		b = binary.AppendUvarint(b, uint64(s.seen))
		if s.known {
			b = append(b, 1)
			b = binary.AppendUvarint(b, s.last)
			b = binary.AppendUvarint(b, uint64(s.sum))
		} else {
			b = append(b, 0)
		}
		b = appendRanges(b, &s.above)
	}
	b = binary.AppendUvarint(b, uint64(len(d.epochs)))
	for id, e := range d.epochs {
		b = append(b, id[:]...)
		b = binary.AppendUvarint(b, uint64(e.seen))
		b = appendRanges(b, &e.here)
		b = appendRanges(b, &e.lost)
	}
	return b
}

func appendRanges(b []byte, s *rangeset.Set) []byte {
	b = binary.AppendUvarint(b, uint64(s.Len()))
	for _, r := range s.Ranges() {
		b = binary.AppendUvarint(b, r.First)
		b = binary.AppendUvarint(b, r.Last-r.First)
	}
	return b
}

var errState = errors.New("malformed delivery state")

// decodeDelivery reads what encode wrote; nothing at all is a fresh one.
func decodeDelivery(b []byte) (*delivery, error) {
	d := newDelivery()
	if len(b) == 0 {
		return d, nil
	}
	version := b[0]
	if version < 1 || version > stateVersion {
		return nil, fmt.Errorf("%w: version %d, this program knows 1 to %d", errState, version, stateVersion)
	}
	r := stateReader{b: b[1:]}
	for range r.count(maxSpools) {
		id := store.ID(r.id())
		s := &spoolState{next: r.uint(), seen: int64(r.uint())}
		if version > 1 {
			if s.known = r.uint() != 0; s.known {
				s.last, s.sum = r.uint(), uint32(r.uint())
			}
			r.ranges(&s.above)
			if above := s.above.Ranges(); len(above) > 0 && above[0].First <= s.next {
				r.fail()
			}
		}
		d.spools[id] = s
	}
	for range r.count(maxEpochs) {
		id := epoch(r.id())
		e := &epochState{seen: int64(r.uint())}
		r.ranges(&e.here)
		if version > 1 {
			r.ranges(&e.lost)
		}
		d.epochs[id] = e
	}
	if r.bad || len(r.b) != 0 {
		return nil, fmt.Errorf("%w: %d bytes", errState, len(b))
	}
	for _, s := range d.spools {
		d.spoolRanges += s.above.Len()
	}
	for _, e := range d.epochs {
		d.ranges += e.len()
	}
	return d, nil
}

// stateReader reads zeros once something was wrong.
type stateReader struct {
	b   []byte
	bad bool
}

func (r *stateReader) fail() { r.bad, r.b = true, nil }

func (r *stateReader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *stateReader) count(most uint64) uint64 {
	n := r.uint()
	if n > most || n > uint64(len(r.b)) { // an entry has at least a byte
		r.fail()
		return 0
	}
	return n
}

func (r *stateReader) id() (id [16]byte) {
	if len(r.b) < len(id) {
		r.fail()
		return id
	}
	copy(id[:], r.b)
	r.b = r.b[len(id):]
	return id
}

func (r *stateReader) ranges(s *rangeset.Set) {
	for range r.count(maxRanges) {
		first, length := r.uint(), r.uint()
		if s.Append(rangeset.Range{First: first, Last: first + length}) != nil {
			r.fail()
			return
		}
	}
}
