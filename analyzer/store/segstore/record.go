package segstore

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/weir-capture/weir/analyzer/store"
)

// A record of the log is a frame in a wrapper: the head is what follows here,
// then the frame's head as the forwarder made it; the body is the frame's.
//
//	0   1  version, 1
//	1   1  flags: bit 0, the body was left out as a duplicate;
//	       bit 1, a mark: there is no frame, and what follows is zero
//	2  16  spool id
//	18  8  offset in the spool, little endian as all numbers
//	26  8  next offset in the spool
//	34  8  time of arrival, Unix nanoseconds
//	42     head of the frame
const (
	wrapperVersion = 1
	wrapperLen     = 42

	flagDuplicate = 1 << 0
	flagMark      = 1 << 1
)

// wrapper is a record's head.
type wrapper struct {
	spool        store.ID
	offset, next uint64
	at           int64
	duplicate    bool
	// mark records stand for nothing. They let a segment begin behind one
	// that retention has to remove; at is when the last frame before them came.
	mark      bool
	frameHead []byte
}

func (w *wrapper) encode() []byte {
	b := make([]byte, 0, wrapperLen+len(w.frameHead))
	var flags byte
	if w.duplicate {
		flags |= flagDuplicate
	}
	if w.mark {
		flags |= flagMark
	}
	b = append(b, wrapperVersion, flags)
	b = append(b, w.spool[:]...)
	b = binary.LittleEndian.AppendUint64(b, w.offset)
	b = binary.LittleEndian.AppendUint64(b, w.next)
	b = binary.LittleEndian.AppendUint64(b, uint64(w.at))
	return append(b, w.frameHead...)
}

var errWrapper = errors.New("malformed record")

// decodeWrapper reads a record's head; frameHead shares b.
func decodeWrapper(b []byte) (wrapper, error) {
	var w wrapper
	switch {
	case len(b) < wrapperLen:
		return w, fmt.Errorf("%w: head of %d bytes", errWrapper, len(b))
	case b[0] != wrapperVersion:
		return w, fmt.Errorf("%w: version %d, this program knows %d", errWrapper, b[0], wrapperVersion)
	}
	w.duplicate = b[1]&flagDuplicate != 0
	w.mark = b[1]&flagMark != 0
	copy(w.spool[:], b[2:])
	w.offset = binary.LittleEndian.Uint64(b[18:])
	w.next = binary.LittleEndian.Uint64(b[26:])
	w.at = int64(binary.LittleEndian.Uint64(b[34:]))
	w.frameHead = b[wrapperLen:]
	if !w.mark && w.next <= w.offset {
		return w, fmt.Errorf("%w: next offset %d is not above %d", errWrapper, w.next, w.offset)
	}
	return w, nil
}
