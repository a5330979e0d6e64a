package segstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/weir-capture/weir/analyzer/store"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// A record of the log is a frame in a wrapper: the head is what follows here,
// then the frame's head; the body is the frame's. The frame's head is as the
// forwarder made it, but for a declaration of loss: that one leaves out the
// batches of which was known already where they are.
//
//	0   1  version, 2; 3 where pairs of it were deleted
//	1   1  flags
//	       bit 0, duplicate: the batch was here, and its body is left out
//	       bit 1, mark: there is no frame, and what follows is zero
//	       bit 2, reclaimed: the batch had been declared lost
//	       bit 3, missing: there is no frame; why stands in place of its head
//	       bit 4, unreadable: the frame cannot be opened
//	       bit 5, deleted: pairs were deleted from it by query (version 3)
//	2  16  spool id
//	18  8  offset in the spool, little endian as all numbers
//	26  8  next offset in the spool
//	34  8  time of arrival, Unix nanoseconds
//	42  4  CRC-32C of the frame's head and body as the forwarder sent them
//	46     head of the frame
//
// In version 3 there stand before that head: 16 bytes, the id of the deletion
// that was the last; uvarint, how many pairs were deleted in all; uvarint, how
// many by that one; uvarint, a number of zeros; these zeros. Each pair that was
// deleted is one of no bytes in the frame's body, so that the others keep their
// places, and the head of the frame counts it still.
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
	flagDeleted    = 1 << 5

	// wrapperDeleted is the version of records of which pairs were deleted.
	wrapperDeleted = 3
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

	// deleted pairs of it are gone, lastDeleted of them by the deletion of that
	// id. padding is what the record is longer than it needs to be.
	deleted, lastDeleted uint32
	deletion             store.ID
	padding              int
}

// left is how many pairs a frame has that were not deleted.
func (w *wrapper) left(h *capturev1.FrameHead) uint32 {
	return h.GetPairs() - min(w.deleted, h.GetPairs())
}

// commit is what those are told who count. head is frameHead decoded, nil when
// it is none; next is the place in the log behind the record.
func (w *wrapper) commit(head *capturev1.FrameHead, next uint64) store.Commit {
	return store.Commit{
		Spool: w.spool, Head: head, Missing: w.missing, Unreadable: w.unreadable,
		Duplicate: w.duplicate, Reclaimed: w.reclaimed, At: w.at, Next: next, Deleted: w.deleted, Deletion: w.deletion,
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
		{w.deleted > 0, flagDeleted},
	} {
		if f.set {
			flags |= f.bit
		}
	}
	if w.missing != "" {
		rest = []byte(w.missing)
	}
	b := make([]byte, 0, wrapperLen+len(rest))
	version := byte(wrapperVersion)
	if w.deleted > 0 {
		version = wrapperDeleted
	}
	b = append(b, version, flags)
	b = append(b, w.spool[:]...)
	b = binary.LittleEndian.AppendUint64(b, w.offset)
	b = binary.LittleEndian.AppendUint64(b, w.next)
	b = binary.LittleEndian.AppendUint64(b, uint64(w.at))
	b = binary.LittleEndian.AppendUint32(b, w.sum)
	if w.deleted > 0 {
		b = append(b, w.deletion[:]...)
		b = binary.AppendUvarint(b, uint64(w.deleted))
		b = binary.AppendUvarint(b, uint64(w.lastDeleted))
		b = binary.AppendUvarint(b, uint64(w.padding))
		b = append(b, make([]byte, w.padding)...)
	}
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
	case wrapperVersion, wrapperDeleted:
		if len(b) < wrapperLen {
			return w, fmt.Errorf("%w: head of %d bytes", errWrapper, len(b))
		}
		w.sum = binary.LittleEndian.Uint32(b[42:])
		w.reclaimed = flags&flagReclaimed != 0
		w.unreadable = flags&flagUnreadable != 0
		w.frameHead = b[wrapperLen:]
		if w.version == wrapperDeleted {
			if err := w.decodeDeleted(); err != nil {
				return w, err
			}
		}
		if flags&flagMissing != 0 {
			if w.missing, w.frameHead = string(w.frameHead), nil; w.missing == "" {
				return w, fmt.Errorf("%w: missing without a reason", errWrapper)
			}
		}
	default:
		return w, fmt.Errorf("%w: version %d, this program knows 1 to %d", errWrapper, w.version, wrapperDeleted)
	}
	if !w.mark && w.next <= w.offset {
		return w, fmt.Errorf("%w: next offset %d is not above %d", errWrapper, w.next, w.offset)
	}
	return w, nil
}

// decodeDeleted reads what stands before the frame's head in version 3.
func (w *wrapper) decodeDeleted() error {
	bad := fmt.Errorf("%w: what was deleted of it", errWrapper)
	b := w.frameHead
	if len(b) < len(w.deletion) {
		return bad
	}
	copy(w.deletion[:], b)
	b = b[len(w.deletion):]
	var n [3]uint64
	for i := range n {
		v, size := binary.Uvarint(b)
		if size <= 0 || v > math.MaxInt32 {
			return bad
		}
		n[i], b = v, b[size:]
	}
	if n[0] == 0 || n[1] > n[0] || n[2] > uint64(len(b)) {
		return bad
	}
	w.deleted, w.lastDeleted, w.padding = uint32(n[0]), uint32(n[1]), int(n[2])
	w.frameHead = b[n[2]:]
	return nil
}
