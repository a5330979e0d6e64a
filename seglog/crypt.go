package seglog

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sort"

	"github.com/weir-capture/weir/internal/keyring"
)

const (
	// VersionEncrypted is the format of segments whose records are encrypted.
	VersionEncrypted = 2

	nonceLen = 12
	tagLen   = 16
	// sealLen is what encryption adds to a head, and to a body.
	sealLen = nonceLen + tagLen
)

// EncryptedError: a segment is encrypted, and the log was opened without keys.
type EncryptedError struct{ Segment string }

func (e *EncryptedError) Error() string {
	return fmt.Sprintf("segment %s is encrypted, and no %s is set", e.Segment, keyring.Variable)
}
func (e *EncryptedError) Unwrap() error { return keyring.ErrNoMaster }

// errForged: a record whose checksums are right is not what was written there.
var errForged = errors.New("its key does not open it")

// sealer encrypts and decrypts the records of one segment.
type sealer struct {
	key  uint16 // its id in the ring
	aead cipher.AEAD
}

// newSealer derives a segment's key from that of its day (HKDF-SHA-256, RFC
// 5869). Ring, place and salt are in it, so that a record opens nowhere but in
// its own segment of its own log.
func newSealer(ring *keyring.Ring, key uint16, base uint64, salt uint32) (*sealer, error) {
	day, err := ring.Key(key)
	if err != nil {
		return nil, fmt.Errorf("key %d: %w", key, err)
	}
	derived, err := segmentKey(ring, day, "weir segment", base, salt)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, fmt.Errorf("set up cipher: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("set up cipher: %w", err)
	}
	return &sealer{key, aead}, nil
}

func segmentKey(ring *keyring.Ring, day []byte, use string, base uint64, salt uint32) ([]byte, error) {
	id := ring.ID()
	info := append([]byte(use+"\x00"), id[:]...)
	info = binary.LittleEndian.AppendUint64(info, base)
	info = binary.LittleEndian.AppendUint32(info, salt)
	key, err := hkdf.Key(sha256.New, day, nil, string(info), keyring.KeyLen)
	if err != nil {
		return nil, fmt.Errorf("derive key of segment: %w", err)
	}
	return key, nil
}

// additional is what a part is bound to: all of the record's header but for
// the checksums, which follow from what is sealed.
func (h recordHeader) additional(part byte) []byte {
	b := make([]byte, 0, 29)
	b = append(b, recordMagic...)
	b = append(b, VersionEncrypted, byte(h.kind))
	b = binary.LittleEndian.AppendUint16(b, h.key)
	b = binary.LittleEndian.AppendUint64(b, h.offset)
	b = binary.LittleEndian.AppendUint32(b, h.salt)
	b = binary.LittleEndian.AppendUint32(b, h.headLen)
	b = binary.LittleEndian.AppendUint32(b, h.bodyLen)
	return append(b, part)
}

// The parts of a record, for additional.
const (
	sealedHead byte = 1
	sealedBody byte = 2
)

// seal appends nonce, ciphertext and tag. The nonce is random: an offset may be
// written more than once, as after a write that failed, and what is random
// needs no memory of that. A segment has less than 2^24 records, so that two of
// its nonces are the same with a probability below 2^-47.
func (s *sealer) seal(b []byte, h *recordHeader, part byte, plain []byte) []byte {
	at := len(b)
	b = append(b, make([]byte, nonceLen)...)
	_, _ = rand.Read(b[at:]) // never fails (crypto/rand)
	return s.aead.Seal(b, b[at:at+nonceLen], plain, h.additional(part))
}

// open decrypts in place.
func (s *sealer) open(h *recordHeader, part byte, sealed []byte) ([]byte, error) {
	if len(sealed) < sealLen {
		return nil, errForged
	}
	plain, err := s.aead.Open(sealed[nonceLen:nonceLen], sealed[:nonceLen], sealed[nonceLen:], h.additional(part))
	if err != nil {
		return nil, errForged
	}
	return plain, nil
}

// recordLen is what a record takes in a segment of s, which is nil in one that
// is not encrypted.
func (s *sealer) recordLen(head, body int) int64 {
	n := recordHeaderLen + int64(head) + int64(body)
	if s != nil {
		n += 2 * sealLen
	}
	return n
}

// append is appendRecord for a segment of s.
func (s *sealer) append(b []byte, k kind, offset uint64, salt uint32, head, body []byte) []byte {
	if s == nil {
		return appendRecord(b, k, offset, salt, head, body)
	}
	h := recordHeader{
		version: VersionEncrypted, kind: k, key: s.key, offset: offset, salt: salt,
		headLen: uint32(len(head) + sealLen), bodyLen: uint32(len(body) + sealLen),
	}
	at := len(b)
	b = append(b, make([]byte, recordHeaderLen)...)
	b = s.seal(b, &h, sealedHead, head)
	mid := len(b)
	b = s.seal(b, &h, sealedBody, body)
	h.headCRC, h.bodyCRC = checksum(b[at+recordHeaderLen:mid]), checksum(b[mid:])
	h.append(b[at:at])
	return b
}

// openKeys finds the key of an encrypted segment. One whose key was shredded is
// gone; where its key is in another ring, the log cannot be opened.
func (l *Log) openKeys(s *segment, ring [16]byte) error {
	if l.keys == nil {
		return &EncryptedError{s.name}
	}
	if own := l.keys.ID(); own != ring {
		return fmt.Errorf("segment %s is encrypted with keys of ring %x; %s has those of ring %x: put the file back that belongs here", s.name, ring, keyring.FileName, own)
	}
	seal, err := newSealer(l.keys, s.key, s.base, s.salt)
	switch {
	case errors.Is(err, keyring.ErrShredded):
		s.gone = true
		return nil
	case err != nil:
		return fmt.Errorf("segment %s: %w", s.name, err)
	}
	s.seal = seal
	return nil
}

// sealerFor is that of a view, made when its first record is read where the
// file's header could not say.
func (v *view) sealer() (*sealer, error) {
	if v.seal == nil {
		s, err := newSealer(v.keys, v.key, v.base, v.salt)
		if err != nil {
			return nil, err
		}
		v.seal = s
	}
	return v.seal, nil
}

// IndexKey is a key of 32 bytes for whoever keeps something of a segment beside
// the log. ok is false where the segment is not encrypted, or its key is gone.
func (l *Log) IndexKey(base uint64) (key []byte, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segs {
		if s.base != base || s.seal == nil {
			continue
		}
		day, err := l.keys.Key(s.key)
		if err != nil {
			return nil, false
		}
		key, err = segmentKey(l.keys, day, "weir words", s.base, s.salt)
		return key, err == nil
	}
	return nil, false
}

// Newest is the base of the newest segment, 0 where there is none.
func (l *Log) Newest() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.segs); n > 0 {
		return l.segs[n-1].base
	}
	return 0
}

// BaseOf is the base of the segment that has an offset.
func (l *Log) BaseOf(offset uint64) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := sort.Search(len(l.segs), func(i int) bool { return l.segs[i].base > offset })
	if i == 0 {
		return 0
	}
	return l.segs[i-1].base
}

// Forget lets go of what was encrypted with keys that were shredded: readers
// pass over it from now on, as over what was removed.
func (l *Log) Forget(keys ...uint16) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segs {
		for _, k := range keys {
			if s.key == k && k != 0 {
				s.gone, s.seal = true, nil
			}
		}
	}
}
