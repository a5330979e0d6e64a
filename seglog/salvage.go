package seglog

import (
	"errors"
	"os"
)

// errNoSalvage: nothing of a stretch can be told.
var errNoSalvage = errors.New("nothing of it can be read")

// maxSalvageHead bounds the heads that are looked for where a record's header
// does not say how long its head is.
const maxSalvageHead = 4 << 10

// Salvage reads what is left of the one record that a damaged stretch of an
// encrypted segment held, for those who count what was lost. head is nil where
// that is what is damaged. A plain segment's bytes say as much themselves:
// there, as where nothing is left, it fails.
func (l *Log) Salvage(c *CorruptError) (head, body []byte, err error) {
	base, ok := parseSegmentName(c.Segment)
	if !ok || c.Offset < base || c.Next < c.Offset || c.Next-c.Offset > MaxRecordBytes+recordHeaderLen+2*sealLen {
		return nil, nil, errNoSalvage
	}
	l.mu.Lock()
	var seal *sealer
	var salt uint32
	for _, s := range l.segs {
		if s.base == base {
			seal, salt = s.seal, s.salt
		}
	}
	l.mu.Unlock()
	n := int(c.Next - c.Offset)
	if seal == nil || n < recordHeaderLen+2*sealLen {
		return nil, nil, errNoSalvage
	}
	raw, err := l.raw(c.Segment, int64(c.Offset-base), int64(n))
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil, errNoSalvage
		}
		return nil, nil, err
	}
	if len(raw) < n {
		return nil, nil, errNoSalvage
	}
	rest := raw[recordHeaderLen:]
	if h, version := parseRecordHeader(raw, c.Offset); version == VersionEncrypted && h.next() == c.Next {
		if head, err = seal.open(&h, sealedHead, rest[:h.headLen]); err != nil {
			head = nil
		}
		if body, err = seal.open(&h, sealedBody, rest[h.headLen:]); err != nil && head == nil {
			return nil, nil, errNoSalvage
		}
		return head, body, nil
	}
	// The header is what is damaged: all that is not known of it is how long
	// the head is, which opens with the right length and no other.
	h := recordHeader{version: VersionEncrypted, kind: kindData, key: seal.key, offset: c.Offset, salt: salt}
	buf := make([]byte, maxSalvageHead)
	for i := sealLen; i <= min(len(rest)-sealLen, maxSalvageHead); i++ {
		h.headLen, h.bodyLen = uint32(i), uint32(len(rest)-i)
		head, err := seal.open(&h, sealedHead, buf[:copy(buf, rest[:i])])
		if err != nil {
			continue
		}
		body, _ := seal.open(&h, sealedBody, rest[i:]) // nil, then
		return head, body, nil
	}
	return nil, nil, errNoSalvage
}
