package segstore

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/weir-capture/weir/analyzer/store"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// A record of the log is a frame in a wrapper: the head is what follows here,
// then the frame's head; the body is the frame's. The frame's head is as the
// forwarder made it, but for a declaration of loss: that one leaves out the
// batches of which was known already where they are.
//
//	0   1  version, 2
//	1   1  flags
//	       bit 0, duplicate: the batch was here, and its body is left out
//	       bit 1, mark: there is no frame, and what follows is zero
//	       bit 2, reclaimed: the batch had been declared lost
//	       bit 3, missing: there is no frame; why stands in place of its head
//	       bit 4, unreadable: the frame cannot be opened
//	2  16  spool id
//	18  8  offset in the spool, little endian as all numbers
//	26  8  next offset in the spool
//	34  8  time of arrival, Unix nanoseconds
//	42  4  CRC-32C of the frame's head and body as the forwarder sent them
//	46     head of the frame
//
// Version 1 had bits 0 and 1 only, and the head at 42, without a checksum. Its
// spools came in order: below an offset that had come, nothing was to come.
const (
	wrapperVersion = 2
	wrapperLen     = 46
	wrapperLenV1   = 42

	flagDuplicate  = 1 << 0
	flagMark       = 1 << 1
	flagReclaimed  = 1 << 2
	flagMissing    = 1 << 3
	flagUnreadable = 1 << 4
)

// wrapper is a record's head.
type wrapper struct {
	version      byte
	spool        store.ID
	offset, next uint64
	at           int64
	// sum is 0 in version 1, where nobody wrote it down.
	sum        uint32
	duplicate  bool
	reclaimed  bool
	unreadable bool
	// missing says why nobody knows what stood in the spool.
	missing string
	// mark records stand for nothing. They let a segment begin behind one
	// that retention has to remove; at is when the last frame before them came.
	mark      bool
	frameHead []byte
}

// commit is what those are told who count. head is frameHead decoded, nil when
// it is none; next is the place in the log behind the record.
func (w *wrapper) commit(head *capturev1.FrameHead, next uint64) store.Commit {
	return store.Commit{
		Spool: w.spool, Head: head, Missing: w.missing, Unreadable: w.unreadable,
		Duplicate: w.duplicate, Reclaimed: w.reclaimed, At: w.at, Next: next,
	}
}

func (w *wrapper) encode() []byte {
	rest := w.frameHead
	var flags byte
	for _, f := range []struct {
		set bool
		bit byte
	}{
		{w.duplicate, flagDuplicate},
		{w.mark, flagMark},
		{w.reclaimed, flagReclaimed},
		{w.missing != "", flagMissing},
		{w.unreadable, flagUnreadable},
	} {
		if f.set {
			flags |= f.bit
		}
	}
	if w.missing != "" {
		rest = []byte(w.missing)
	}
	b := make([]byte, 0, wrapperLen+len(rest))
	b = append(b, wrapperVersion, flags)
	b = append(b, w.spool[:]...)
	b = binary.LittleEndian.AppendUint64(b, w.offset)
	b = binary.LittleEndian.AppendUint64(b, w.next)
	b = binary.LittleEndian.AppendUint64(b, uint64(w.at))
	b = binary.LittleEndian.AppendUint32(b, w.sum)
	return append(b, rest...)
}

var errWrapper = errors.New("malformed record")

// decodeWrapper reads a record's head; frameHead shares b.
func decodeWrapper(b []byte) (wrapper, error) {
	var w wrapper
	if len(b) < wrapperLenV1 {
		return w, fmt.Errorf("%w: head of %d bytes", errWrapper, len(b))
	}
	w.version = b[0]
	flags := b[1]
	w.duplicate = flags&flagDuplicate != 0
	w.mark = flags&flagMark != 0
	copy(w.spool[:], b[2:])
	w.offset = binary.LittleEndian.Uint64(b[18:])
	w.next = binary.LittleEndian.Uint64(b[26:])
	w.at = int64(binary.LittleEndian.Uint64(b[34:]))
	switch w.version {
	case 1:
		w.frameHead = b[wrapperLenV1:]
	case wrapperVersion:
		if len(b) < wrapperLen {
			return w, fmt.Errorf("%w: head of %d bytes", errWrapper, len(b))
		}
		w.sum = binary.LittleEndian.Uint32(b[42:])
		w.reclaimed = flags&flagReclaimed != 0
		w.unreadable = flags&flagUnreadable != 0
		w.frameHead = b[wrapperLen:]
		if flags&flagMissing != 0 {
			if w.missing, w.frameHead = string(w.frameHead), nil; w.missing == "" {
				return w, fmt.Errorf("%w: missing without a reason", errWrapper)
			}
		}
	default:
		return w, fmt.Errorf("%w: version %d, this program knows 1 to %d", errWrapper, w.version, wrapperVersion)
	}
	if !w.mark && w.next <= w.offset {
		return w, fmt.Errorf("%w: next offset %d is not above %d", errWrapper, w.next, w.offset)
	}
	return w, nil
}
