package seglog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/weir-capture/weir/internal/keyring"
	"github.com/weir-capture/weir/internal/vfs"
)

// Version is the format that this package writes where nothing is encrypted
// (FORMAT.md).
const Version = 1

const (
	segmentHeaderLen = 64
	recordHeaderLen  = 40
	segmentSuffix    = ".seg"
)

var (
	segmentMagic = []byte("WEIRSEG\n")
	recordMagic  = []byte("WREC")
	castagnoli   = crc32.MakeTable(crc32.Castagnoli)
)

// kind says what a record is for.
type kind uint8

const (
	kindData kind = 1
	// kindState holds, as its body, what Options.State gave; the first record
	// of every segment.
	kindState kind = 2
	// kindMark is written by Close: everything before it was durable.
	kindMark kind = 3
	// kindHole takes the room of what was deleted. Nothing is in it.
	kindHole kind = 4
)

// UnsupportedError: a file of a version that this build cannot read. It is
// left as it is.
type UnsupportedError struct {
	Segment string
	Version int
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("segment %s has format version %d; this build reads versions 1 to %d", e.Segment, e.Version, VersionEncrypted)
}

func segmentName(base uint64) string { return fmt.Sprintf("%016x%s", base, segmentSuffix) }

func parseSegmentName(name string) (base uint64, ok bool) {
	hex, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(hex) != 16 {
		return 0, false
	}
	base, err := strconv.ParseUint(hex, 16, 64)
	return base, err == nil && segmentName(base) == name
}

// segmentHeader stands at the beginning of a file.
type segmentHeader struct {
	base uint64
	// prevEnd is where the durable records before this segment end. Bytes of
	// an older file at or behind it are no records: a torn tail, or a group
	// whose fsync failed and that was written again elsewhere.
	prevEnd uint64
	created time.Time
	// salt is repeated in every record, so that bytes of captured traffic
	// that look like a record are not taken for one behind a damaged stretch.
	salt uint32
	// key is the id of what its records are encrypted with, in ring; 0: they
	// are not.
	key  uint16
	ring [16]byte
}

func (h segmentHeader) append(b []byte) []byte {
	at := len(b)
	version := byte(Version)
	if h.key != 0 {
		version = VersionEncrypted
	}
	b = append(b, segmentMagic...)
	b = append(b, version, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, h.salt)
	b = binary.LittleEndian.AppendUint64(b, h.base)
	b = binary.LittleEndian.AppendUint64(b, h.prevEnd)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.created.UnixNano()))
	b = binary.LittleEndian.AppendUint16(b, h.key)
	b = append(b, h.ring[:]...)
	b = append(b, 0, 0)
	return binary.LittleEndian.AppendUint32(b, checksum(b[at:]))
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// parseSegmentHeader returns version 0 when b is no whole header.
func parseSegmentHeader(b []byte) (h segmentHeader, version int) {
	if len(b) < segmentHeaderLen || !bytes.HasPrefix(b, segmentMagic) ||
		crc32.Checksum(b[:60], castagnoli) != binary.LittleEndian.Uint32(b[60:]) {
		return h, 0
	}
	h.salt = binary.LittleEndian.Uint32(b[12:])
	h.base = binary.LittleEndian.Uint64(b[16:])
	h.prevEnd = binary.LittleEndian.Uint64(b[24:])
	h.created = time.Unix(0, int64(binary.LittleEndian.Uint64(b[32:])))
	if b[8] == VersionEncrypted {
		h.key = binary.LittleEndian.Uint16(b[40:])
		h.ring = [16]byte(b[42:])
	}
	return h, int(b[8])
}

// recordHeader stands before each record's head and body.
type recordHeader struct {
	version          byte
	kind             kind
	key              uint16 // of an encrypted one
	offset           uint64
	salt             uint32
	headLen, bodyLen uint32
	headCRC, bodyCRC uint32
}

func (h recordHeader) total() int64 {
	return recordHeaderLen + int64(h.headLen) + int64(h.bodyLen)
}

func (h recordHeader) next() uint64 { return h.offset + uint64(h.total()) }

// bodyBytes is how long the body is when it is not encrypted.
func (h recordHeader) bodyBytes() int {
	if h.version == VersionEncrypted && h.bodyLen >= sealLen {
		return int(h.bodyLen) - sealLen
	}
	return int(h.bodyLen)
}

func (h recordHeader) append(b []byte) []byte {
	at := len(b)
	b = append(b, recordMagic...)
	b = append(b, h.version, byte(h.kind))
	b = binary.LittleEndian.AppendUint16(b, h.key)
	b = binary.LittleEndian.AppendUint64(b, h.offset)
	b = binary.LittleEndian.AppendUint32(b, h.salt)
	b = binary.LittleEndian.AppendUint32(b, h.headLen)
	b = binary.LittleEndian.AppendUint32(b, h.bodyLen)
	b = binary.LittleEndian.AppendUint32(b, h.headCRC)
	b = binary.LittleEndian.AppendUint32(b, h.bodyCRC)
	return binary.LittleEndian.AppendUint32(b, checksum(b[at:]))
}

func appendRecord(b []byte, k kind, offset uint64, salt uint32, head, body []byte) []byte {
	b = recordHeader{
		version: Version, kind: k, offset: offset, salt: salt,
		headLen: uint32(len(head)), bodyLen: uint32(len(body)), headCRC: checksum(head), bodyCRC: checksum(body),
	}.append(b)
	b = append(b, head...)
	return append(b, body...)
}

// parseRecordHeader reads the header that is claimed to stand at offset.
// version is 0 when it is none.
func parseRecordHeader(b []byte, offset uint64) (h recordHeader, version int) {
	if len(b) < recordHeaderLen || !bytes.HasPrefix(b, recordMagic) ||
		crc32.Checksum(b[:36], castagnoli) != binary.LittleEndian.Uint32(b[36:]) {
		return h, 0
	}
	h = recordHeader{
		version: b[4],
		kind:    kind(b[5]),
		offset:  binary.LittleEndian.Uint64(b[8:]),
		salt:    binary.LittleEndian.Uint32(b[16:]),
		headLen: binary.LittleEndian.Uint32(b[20:]),
		bodyLen: binary.LittleEndian.Uint32(b[24:]),
		headCRC: binary.LittleEndian.Uint32(b[28:]),
		bodyCRC: binary.LittleEndian.Uint32(b[32:]),
	}
	most := uint64(MaxRecordBytes)
	if h.version == VersionEncrypted {
		h.key = binary.LittleEndian.Uint16(b[6:])
		most += 2 * sealLen
	}
	if h.offset != offset || uint64(h.headLen)+uint64(h.bodyLen) > most {
		return h, 0
	}
	return h, int(b[4])
}

// view is the durable part of one segment file, as bytes from base to end.
type view struct {
	name      string
	f         vfs.File
	base, end uint64
	salt      uint32
	// anySalt: the file's header is damaged, so the first whole record
	// header's salt is believed.
	anySalt bool
	// keys are those of the log, key the id of this segment's, 0 where it is
	// not encrypted; seal is nil until it is needed.
	keys *keyring.Ring
	key  uint16
	seal *sealer
}

// part says how much of a record one wants.
type part uint8

const (
	partHead part = iota // header and head; the body is neither read nor checked
	partAll
)

// record is one step through a view: a record, or damage.
type record struct {
	recordHeader
	head, body []byte
	next       uint64
	damage     *CorruptError
}

// readTries is how often a disk is asked for the same bytes. A read error may
// pass; one that does not is damage, so that nobody waits for it for ever.
const readTries = 3

// readAt fills b. When the disk won't give them, unreadable says why; err is
// of the file's handle and means nothing for the bytes.
func (v *view) readAt(b []byte, offset uint64) (unreadable, err error) {
	for range readTries {
		var n int
		if n, err = v.f.ReadAt(b, int64(offset-v.base)); n == len(b) {
			return nil, nil
		}
		if errors.Is(err, fs.ErrClosed) {
			return nil, fmt.Errorf("read segment %s at offset %d: %w", v.name, offset, err)
		}
	}
	return err, nil
}

// readBlocks is readAt that gives zeros for the blocks which the disk won't
// read.
func (v *view) readBlocks(b []byte, offset uint64) error {
	unreadable, err := v.readAt(b, offset)
	if err != nil || unreadable == nil {
		return err
	}
	for len(b) > 0 {
		n := min(len(b), diskBlock-int((offset-v.base)%diskBlock))
		if unreadable, err = v.readAt(b[:n], offset); err != nil {
			return err
		}
		if unreadable != nil {
			clear(b[:n])
		}
		b, offset = b[n:], offset+uint64(n)
	}
	return nil
}

// diskBlock is what a disk fails to read at a time.
const diskBlock = 4 << 10

// header reads the record header at offset; ok is false when there is no
// whole record of this log there.
func (v *view) header(offset uint64) (h recordHeader, ok bool, unreadable, err error) {
	if offset > v.end || v.end-offset < recordHeaderLen {
		return h, false, nil, nil
	}
	var b [recordHeaderLen]byte
	if unreadable, err = v.readAt(b[:], offset); err != nil || unreadable != nil {
		return h, false, unreadable, err
	}
	h, ok, err = v.accept(b[:], offset)
	return h, ok, nil, err
}

func (v *view) accept(b []byte, offset uint64) (h recordHeader, ok bool, err error) {
	h, version := parseRecordHeader(b, offset)
	switch {
	case version == 0, !v.anySalt && h.salt != v.salt, v.end-offset < uint64(h.total()):
		return h, false, nil
	case version > VersionEncrypted:
		return h, false, &UnsupportedError{v.name, version}
	case version == VersionEncrypted && v.keys == nil:
		return h, false, &EncryptedError{v.name}
	}
	if v.anySalt {
		v.salt, v.key, v.anySalt = h.salt, h.key, false
	}
	if h.key != v.key {
		return h, false, nil
	}
	return h, true, nil
}

// step reads what stands at offset, which must be below end. buf, when it is
// large enough, is used for head and body.
func (v *view) step(offset uint64, want part, buf []byte) (record, error) {
	h, ok, unreadable, err := v.header(offset)
	if err != nil {
		return record{}, err
	}
	if !ok {
		next, err := v.resync(offset + 1)
		if err != nil {
			return record{}, err
		}
		return record{next: next, damage: &CorruptError{Segment: v.name, Offset: offset, Next: next, Part: "header", Err: unreadable}}, nil
	}
	r := record{recordHeader: h, next: h.next()}
	if h.kind == kindHole {
		return r, nil
	}
	damaged := func(part string, head []byte, why error) (record, error) {
		r.damage = &CorruptError{Segment: v.name, Offset: offset, Next: r.next, Part: part, Head: bytes.Clone(head), Err: why}
		return r, nil
	}
	n := int(h.headLen)
	if want == partAll {
		n += int(h.bodyLen)
	}
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	head, body := buf[:h.headLen:h.headLen], buf[h.headLen:]
	if unreadable, err = v.readAt(buf, offset+recordHeaderLen); err != nil {
		return record{}, err
	}
	if unreadable != nil {
		if len(body) == 0 {
			return damaged("head", nil, unreadable)
		}
		// The head may stand in a block that can be read.
		headless, err := v.readAt(head, offset+recordHeaderLen)
		if err != nil {
			return record{}, err
		}
		if headless != nil {
			return damaged("head", nil, headless)
		}
	}
	if crc32.Checksum(head, castagnoli) != h.headCRC {
		return damaged("head", nil, nil)
	}
	var seal *sealer
	if h.version == VersionEncrypted {
		if seal, err = v.sealer(); err == nil {
			head, err = seal.open(&h, sealedHead, head)
		}
		if err != nil {
			return damaged("head", nil, err)
		}
	}
	r.head = head
	if unreadable != nil {
		return damaged("body", head, unreadable)
	}
	if want == partAll {
		if crc32.Checksum(body, castagnoli) != h.bodyCRC {
			return damaged("body", head, nil)
		}
		if seal != nil {
			if body, err = seal.open(&h, sealedBody, body); err != nil {
				return damaged("body", head, err)
			}
		}
		r.body = body
	}
	return r, nil
}

// resync finds the first whole record header at or behind offset, or end.
func (v *view) resync(offset uint64) (uint64, error) {
	const chunk = 256 << 10
	var buf []byte
	for offset < v.end && v.end-offset >= recordHeaderLen {
		n := int(min(v.end-offset, chunk))
		if buf == nil {
			buf = make([]byte, n)
		}
		b := buf[:n]
		if err := v.readBlocks(b, offset); err != nil {
			return 0, err
		}
		for i := 0; ; {
			j := bytes.Index(b[i:], recordMagic)
			if j < 0 || len(b)-i-j < recordHeaderLen {
				break
			}
			i += j
			at := offset + uint64(i)
			if _, ok, err := v.accept(b[i:], at); err != nil || ok {
				return at, err
			}
			i++
		}
		if n < chunk {
			break
		}
		// The next chunk begins where a header could still begin.
		offset += uint64(n - recordHeaderLen + 1)
	}
	return v.end, nil
}

func lengthsFit(r Record) bool {
	return len(r.Head) <= MaxHeadBytes && len(r.Head)+len(r.Body) <= MaxRecordBytes
}
