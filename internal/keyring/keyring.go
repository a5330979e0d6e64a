// Package keyring keeps the keys of data at rest: one random key for each UTC
// day, in a file beside the data, each wrapped by a master key that is never
// on that disk. Changing the master key wraps the day keys anew and rewrites no
// data; a day whose key is removed cannot be read by anybody any more, from
// whatever copy of the data.
//
// The file, keys.json, is there twice (keys.copy.json), since one flipped bit
// in its only copy would cost everything:
//
//	{
//	  "format": 1,
//	  "serial": 7,                        // of this writing; the higher copy is believed
//	  "ring": "<16 bytes, hex>",          // random; names the log that the keys are of
//	  "master": "<8 bytes, hex>",         // of SHA-256 over the master key
//	  "last": 3,                          // the highest id that was given out
//	  "keys": [
//	    {"id": 3, "day": "2026-11-23", "wrapped": "<12 nonce + 32 key + 16 tag, base64>"},
//	    {"id": 2, "day": "2026-11-22", "shredded": "2026-11-23T10:00:00Z"}
//	  ],
//	  "sum": "<CRC-32C of the file without these eight digits, hex>"
//	}
//
// Keys are wrapped with AES-256-GCM (NIST SP 800-38D) under random nonces; the
// additional data are ring, id and day, so that no wrapped key can stand in for
// another. A shredded key leaves its day behind, so that what it had encrypted
// is known to be gone rather than damaged.
package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weir-capture/weir/internal/vfs"
)

const (
	// KeyLen is the length of a key, in bytes.
	KeyLen = 32
	// FileName and CopyName are the files of a ring.
	FileName = "keys.json"
	CopyName = "keys.copy.json"
	// Variable is what users set the master key with; behind it _FILE.
	Variable = "ENCRYPTION_KEY"
	// dayFormat is how a day is written.
	dayFormat = time.DateOnly
	// maxID is the highest id of a key. There is one a day, and one for each
	// time that a day's was shredded before it was over.
	maxID = 1<<16 - 1
	// maxMasters bounds the keys of a rotation.
	maxMasters = 4
)

var (
	// ErrShredded: the key was removed, and with it what it had encrypted.
	ErrShredded = errors.New("the key of that day was shredded")
	// ErrUnknown: no key of that id was ever in the ring.
	ErrUnknown = errors.New("the ring has no such key")
	// ErrWrongKey: the master keys that were given unwrap nothing of the ring.
	ErrWrongKey  = errors.New("another key than the one that the data was encrypted with")
	errMalformed = errors.New("malformed")
)

// Master are the master keys: the first wraps, all of them unwrap.
type Master struct{ keys []masterKey }

type masterKey struct {
	id   string
	aead cipher.AEAD
}

// ParseMaster reads what users set: 32 bytes in base64 or 64 hexadecimal
// digits; while a key is being changed the new one, a comma, the old one.
// Errors never have any of it in them.
func ParseMaster(text string) (*Master, error) {
	parts := strings.Split(text, ",")
	if len(parts) > maxMasters {
		return nil, fmt.Errorf("it has %d keys, at most %d can be given", len(parts), maxMasters)
	}
	m := new(Master)
	for i, part := range parts {
		key, err := decodeKey(strings.TrimSpace(part))
		if err != nil {
			return nil, fmt.Errorf("key %d of %d: %w", i+1, len(parts), err)
		}
		aead, err := newAEAD(key)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(append([]byte("weir master key\x00"), key...))
		m.keys = append(m.keys, masterKey{hex.EncodeToString(sum[:8]), aead})
	}
	return m, nil
}

func decodeKey(text string) ([]byte, error) {
	if len(text) == 2*KeyLen {
		if key, err := hex.DecodeString(text); err == nil {
			return key, nil
		}
	}
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if key, err := enc.DecodeString(text); err == nil {
			if len(key) != KeyLen {
				return nil, fmt.Errorf("it is %d bytes long, not %d", len(key), KeyLen)
			}
			return key, nil
		}
	}
	return nil, errors.New("it is neither base64 nor hexadecimal digits")
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("set up cipher: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("set up cipher: %w", err)
	}
	return aead, nil
}

// Ring is an open ring. It may be used by many goroutines at once.
type Ring struct {
	dir    vfs.FS
	master *Master

	mu   sync.Mutex
	file file
	keys map[uint16][]byte
}

// Exists reports whether a directory has a ring, whole or not.
func Exists(dir vfs.FS) (bool, error) {
	names, err := dir.Names()
	if err != nil {
		return false, fmt.Errorf("list directory: %w", err)
	}
	return slices.Contains(names, FileName) || slices.Contains(names, CopyName), nil
}

// Open opens the ring in dir, or makes one where there is none. Nothing is
// changed unless the master keys unwrap all of it: ErrWrongKey. Where the first
// of them is another than the ring has, all day keys are wrapped by it. dir
// stays the caller's, and has to stay open as long as the ring is used.
func Open(dir vfs.FS, m *Master) (*Ring, error) {
	r := &Ring{dir: dir, master: m, keys: map[uint16][]byte{}}
	f, whole, err := readFiles(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		var id [16]byte
		if _, err := io.ReadFull(rand.Reader, id[:]); err != nil {
			return nil, fmt.Errorf("make ring of keys: %w", err)
		}
		r.file = file{Format: formatNow, Ring: hex.EncodeToString(id[:]), Master: m.keys[0].id}
		return r, r.write()
	case err != nil:
		return nil, fmt.Errorf("read %s in %s: %w", FileName, dir.Path(), err)
	}
	if err := r.take(f); err != nil {
		return nil, err
	}
	rotated := f.Master != m.keys[0].id
	if !rotated && whole {
		return r, nil
	}
	if rotated {
		if err := r.rewrap(); err != nil {
			return nil, err
		}
	}
	return r, r.write()
}

// Read is Open that changes nothing, for those who only look: fs.ErrNotExist
// where there is no ring.
func Read(dir vfs.FS, m *Master) (*Ring, error) {
	r := &Ring{dir: dir, master: m, keys: map[uint16][]byte{}}
	f, _, err := readFiles(dir)
	if err != nil {
		return nil, fmt.Errorf("read %s in %s: %w", FileName, dir.Path(), err)
	}
	return r, r.take(f)
}

// take unwraps all keys of a file.
func (r *Ring) take(f file) (err error) {
	r.file = f
	for i := range f.Keys {
		k := &f.Keys[i]
		if k.Wrapped == nil {
			continue
		}
		if r.keys[k.ID], err = r.unwrap(k); err != nil {
			return &WrongKeyError{Path: r.dir.Path()}
		}
	}
	if !slices.ContainsFunc(r.master.keys, func(k masterKey) bool { return k.id == f.Master }) {
		return &WrongKeyError{Path: r.dir.Path()}
	}
	return nil
}

// WrongKeyError says whose key it is not.
type WrongKeyError struct{ Path string }

func (e *WrongKeyError) Error() string {
	return fmt.Sprintf("%s does not fit %s in %s: %v", Variable, FileName, e.Path, ErrWrongKey)
}
func (e *WrongKeyError) Unwrap() error { return ErrWrongKey }

// ID names the ring, and so the log that its keys are of.
func (r *Ring) ID() [16]byte {
	var id [16]byte
	_, _ = hex.Decode(id[:], []byte(r.file.Ring)) // checked when it was read
	return id
}

// Day is one day of a ring.
type Day struct {
	ID  uint16
	Day string // such as 2026-11-23
	// Shredded is when its key was removed; zero: it was not.
	Shredded time.Time
}

// Days lists what the ring has keys of, or had, oldest first.
func (r *Ring) Days() []Day {
	r.mu.Lock()
	defer r.mu.Unlock()
	days := make([]Day, len(r.file.Keys))
	for i, k := range r.file.Keys {
		days[i] = Day{k.ID, k.Day, k.Shredded}
	}
	slices.SortFunc(days, func(a, b Day) int { return int(a.ID) - int(b.ID) })
	return days
}

// DayOf is the UTC day of a moment, as a ring writes it.
func DayOf(now time.Time) string { return now.UTC().Format(dayFormat) }

// Current is the key of the day of now, which is made, durably, when there is
// none. The caller must not change it.
func (r *Ring) Current(now time.Time) (id uint16, key []byte, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	day := DayOf(now)
	for i := len(r.file.Keys) - 1; i >= 0; i-- {
		if k := r.file.Keys[i]; k.Day == day && k.Wrapped != nil {
			return k.ID, r.keys[k.ID], nil
		}
	}
	if r.file.Last >= maxID {
		return 0, nil, fmt.Errorf("make key of %s: all %d ids are used", day, maxID)
	}
	key = make([]byte, KeyLen)
	if _, err := io.ReadFull(rand.Reader, key); err != nil {
		return 0, nil, fmt.Errorf("make key of %s: %w", day, err)
	}
	before := r.file
	k := entry{ID: r.file.Last + 1, Day: day}
	if k.Wrapped, err = r.wrap(&k, key); err != nil {
		return 0, nil, err
	}
	r.file.Keys = append(slices.Clone(r.file.Keys), k)
	r.file.Last = k.ID
	if err := r.write(); err != nil {
		r.file = before
		return 0, nil, err
	}
	r.keys[k.ID] = key
	return k.ID, key, nil
}

// Key is the key of an id: ErrShredded, ErrUnknown. The caller must not change
// it.
func (r *Ring) Key(id uint16) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if key := r.keys[id]; key != nil {
		return key, nil
	}
	// What was shredded long ago is not remembered one by one.
	if id != 0 && id <= r.file.Last {
		return nil, ErrShredded
	}
	return nil, ErrUnknown
}

// maxShredded bounds the days without a key that are remembered; the oldest are
// forgotten.
const maxShredded = 1024

// Shred removes keys for good: what they had encrypted cannot be read any more
// once it returns. The files that had them are overwritten before they are let
// go, as far as a file system and a disk that copy on write allow that.
func (r *Ring) Shred(now time.Time, ids ...uint16) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.file
	changed := false
	r.file.Keys = slices.Clone(r.file.Keys)
	for i := range r.file.Keys {
		if k := &r.file.Keys[i]; slices.Contains(ids, k.ID) && k.Wrapped != nil {
			k.Wrapped, k.Shredded, changed = nil, now.UTC().Truncate(time.Second), true
		}
	}
	if !changed {
		return nil
	}
	gone := 0
	for _, k := range r.file.Keys {
		if k.Wrapped == nil {
			gone++
		}
	}
	r.file.Keys = slices.DeleteFunc(r.file.Keys, func(k entry) bool {
		if k.Wrapped != nil || gone <= maxShredded {
			return false
		}
		gone--
		return true
	})
	if err := r.write(); err != nil {
		// One of the two files may be without them already; they stay in use
		// until both are.
		r.file.Keys = before.Keys
		return fmt.Errorf("shred keys: %w", err)
	}
	for _, id := range ids {
		clear(r.keys[id])
		delete(r.keys, id)
	}
	return nil
}

// rewrap wraps all keys by the first master key.
func (r *Ring) rewrap() error {
	r.file.Keys = slices.Clone(r.file.Keys)
	r.file.Master = r.master.keys[0].id
	for i := range r.file.Keys {
		k := &r.file.Keys[i]
		if k.Wrapped == nil {
			continue
		}
		var err error
		if k.Wrapped, err = r.wrap(k, r.keys[k.ID]); err != nil {
			return err
		}
	}
	return nil
}

func (r *Ring) additional(k *entry) []byte {
	id := r.ID()
	b := append([]byte("weir day key\x00"), id[:]...)
	b = binary.LittleEndian.AppendUint16(b, k.ID)
	return append(b, k.Day...)
}

func (r *Ring) wrap(k *entry, key []byte) ([]byte, error) {
	aead := r.master.keys[0].aead
	b := make([]byte, aead.NonceSize(), wrappedLen)
	if _, err := io.ReadFull(rand.Reader, b); err != nil {
		return nil, fmt.Errorf("wrap key: %w", err)
	}
	return aead.Seal(b, b, key, r.additional(k)), nil
}

func (r *Ring) unwrap(k *entry) ([]byte, error) {
	for _, m := range r.master.keys {
		if m.id != r.file.Master {
			continue
		}
		n := m.aead.NonceSize()
		return m.aead.Open(nil, k.Wrapped[:n], k.Wrapped[n:], r.additional(k))
	}
	return nil, ErrWrongKey
}

// write makes both files say what the ring has. r.mu is held, or nobody else
// has the ring yet.
func (r *Ring) write() error {
	f := r.file
	f.Serial++
	b, err := f.encode()
	if err != nil {
		return err
	}
	for _, name := range []string{CopyName, FileName} {
		if err := replace(r.dir, name, b); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	r.file.Serial = f.Serial
	return nil
}
