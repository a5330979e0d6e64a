// Package ring is a bounded queue of records on disk that nobody but this
// process can read. It takes over what a proxy cannot keep in memory while its
// forwarder is away.
//
// Each segment is a file of records, one behind the other, without anything
// between them: where a record stands, how long it is and what it counts for
// is kept in memory. Each record is sealed with AES-256-GCM. A segment's key
// is derived (HKDF-SHA-256, RFC 5869) from a random one that never leaves the
// memory of the process, and is used for that segment alone; the nonce is the
// record's place in it, so that none comes twice; the additional data is the
// record's sequence and count, so that no record passes for another. A record
// that was damaged is lost, and nothing else.
//
// Nothing is synced: with the process the key is gone, so that whatever a loss
// of power leaves on the disk is of no use to anybody. For the same reason the
// files of a process that ended are rubbish, which the next one sweeps away.
package ring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"sync/atomic"

	"github.com/weir-capture/weir/internal/vfs"
)

const (
	// segmentBytes is where a segment ends, unless the ring is so small that
	// this would be much of it. Space comes back by the segment.
	segmentBytes = 8 << 20
	// suffix of the files that hold segments.
	suffix = ".ring"
	// tagLen is what sealing adds to a record, in bytes.
	tagLen = 16
	// maxRecord bounds one record, in bytes.
	maxRecord = 64 << 20

	// EntryBytes is the memory that a record takes while it is on the disk,
	// with the air in a list that grows by doubling.
	EntryBytes = 24
)

var (
	// ErrFull: the ring has no room for the record. Nothing was changed.
	ErrFull = errors.New("the ring is full")
	// ErrDamaged: what the disk gave back is not what it was given.
	ErrDamaged = errors.New("the record is damaged")
)

// Record is what the ring knows of a record besides its bytes.
type Record struct {
	// Seq numbers records; each is one more than that before it.
	Seq uint64
	// Pairs is how many are lost with it.
	Pairs int
	// Held is for the owner: the memory that the record takes once it is read,
	// in bytes.
	Held int64
	// Cut is for the owner too: when the record's batch was closed, Unix
	// nanoseconds. The ring remembers the second.
	Cut int64
}

// Ring is the queue. All methods but Used and Limit are for one goroutine at a
// time.
type Ring struct {
	dir   vfs.FS
	limit int64
	roll  int64
	key   [32]byte
	next  uint64 // number of the next segment
	used  atomic.Int64

	segments []*segment // oldest first; only the last is written to
	last     uint64     // sequence of the newest record
	// rubbish are files that are of no use any more and could not be removed.
	rubbish map[string]int64
	// release ends what Open began: the claim on the directory.
	release func() error
}

// segment is one file.
type segment struct {
	name  string
	file  vfs.File // nil while it is neither written nor read
	aead  cipher.AEAD
	size  int64 // where the next record goes
	waste int64 // behind size, of a write that failed
	ended bool  // no record comes to it any more

	entries []entry
	// read entries are gone; the next one begins at from.
	read int
	from int64
	seq  uint64 // of the first entry
}

// entry is a record as it stands on the disk. There may be a million of them.
type entry struct{ length, pairs, held, cut uint32 }

// New makes a ring of at most limit bytes in a directory that nobody else
// uses. The caller keeps dir and closes it after the ring.
func New(dir vfs.FS, limit int64) *Ring {
	r := &Ring{
		dir: dir, limit: limit, roll: max(min(segmentBytes, limit/8), 4<<10),
		rubbish: make(map[string]int64), release: func() error { return nil },
	}
	_, _ = rand.Read(r.key[:]) // never fails (crypto/rand)
	return r
}

// Used is what the files take, in bytes. It may be called by any goroutine.
func (r *Ring) Used() int64 { return r.used.Load() }

// Limit is what they may take. It may be called by any goroutine.
func (r *Ring) Limit() int64 { return r.limit }

// Append puts a record behind all others. data is overwritten. ErrFull says
// that there is no room; any other error that the disk did not take it. In
// both cases the ring is as it was.
func (r *Ring) Append(rec Record, data []byte) error {
	switch {
	case len(data) > maxRecord || rec.Held > math.MaxUint32 || rec.Pairs > math.MaxInt32:
		return fmt.Errorf("write ring: a record of %d bytes, at most %d", len(data), maxRecord)
	case len(r.segments) > 0 && rec.Seq != r.last+1:
		return fmt.Errorf("write ring: record %d does not follow record %d", rec.Seq, r.last)
	}
	n := int64(len(data) + tagLen)
	r.clear()
	if r.used.Load()+n > r.limit {
		return ErrFull
	}
	s, err := r.writable(n)
	if err != nil {
		return fmt.Errorf("write ring: %w", err)
	}
	sealed := s.aead.Seal(data[:0], s.nonce(len(s.entries)), data, additional(rec))
	if _, err := s.file.WriteAt(sealed, s.size); err != nil {
		// Its nonce is spent, and part of it may be there: the segment ends
		// before it.
		if s.file.Truncate(s.size) != nil {
			s.waste = n
			r.used.Add(n)
		}
		s.ended = true
		if s.read == len(s.entries) {
			r.drop(len(r.segments) - 1)
		} else {
			s.rest()
		}
		return fmt.Errorf("write ring: %w", err)
	}
	if len(s.entries) == 0 {
		s.seq = rec.Seq
	}
	s.entries = append(s.entries, entry{uint32(n), uint32(rec.Pairs), uint32(rec.Held), uint32(rec.Cut / 1e9)})
	r.last = rec.Seq
	s.size += n
	r.used.Add(n)
	return nil
}

// writable is the segment for n more bytes.
func (r *Ring) writable(n int64) (*segment, error) {
	if len(r.segments) > 0 {
		s := r.segments[len(r.segments)-1]
		if !s.ended && s.size+n <= r.roll {
			return s, nil
		}
		if !s.ended {
			s.ended = true
			if len(r.segments) > 1 { // else it is being read
				s.rest()
			}
		}
	}
	s := &segment{name: fmt.Sprintf("%016x%s", r.next, suffix)}
	r.next++
	key, err := hkdf.Key(sha256.New, r.key[:], nil, "segment of a proxy's ring "+s.name, 32)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("set up cipher: %w", err)
	}
	if s.aead, err = cipher.NewGCM(block); err != nil {
		return nil, fmt.Errorf("set up cipher: %w", err)
	}
	if s.file, err = r.dir.OpenFile(s.name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, err
	}
	r.segments = append(r.segments, s)
	return s, nil
}

// nonce is that of the i-th record of the segment.
func (s *segment) nonce(i int) []byte {
	var b [12]byte
	binary.BigEndian.PutUint64(b[4:], uint64(i))
	return b[:]
}

// additional binds a record to what the ring says of it.
func additional(rec Record) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 16), rec.Seq)
	return binary.BigEndian.AppendUint64(b, uint64(rec.Pairs))
}

// rest closes the file until it is read.
func (s *segment) rest() {
	if s.file != nil {
		_ = s.file.Close() // nothing depends on it: it is read again, or not
		s.file = nil
	}
}

// Oldest says what the next Pop takes; false when the ring is empty.
func (r *Ring) Oldest() (Record, bool) {
	if len(r.segments) == 0 {
		return Record{}, false
	}
	return r.segments[0].oldest(), true
}

func (s *segment) oldest() Record {
	e := s.entries[s.read]
	return Record{Seq: s.seq + uint64(s.read), Pairs: int(e.pairs), Held: int64(e.held), Cut: int64(e.cut) * 1e9}
}

// Pop takes the oldest record out of a ring that is not empty. Its bytes are
// in buf where that is large enough. With an error they are lost; the record
// is gone all the same.
func (r *Ring) Pop(buf []byte) ([]byte, error) {
	s := r.segments[0]
	rec, length := s.oldest(), int64(s.entries[s.read].length)
	data, err := r.open(s, rec, length, buf)
	s.read++
	s.from += length
	if s.read == len(s.entries) {
		r.drop(0)
	}
	if err != nil {
		return nil, fmt.Errorf("read ring: %w", err)
	}
	return data, nil
}

func (r *Ring) open(s *segment, rec Record, length int64, buf []byte) ([]byte, error) {
	if s.file == nil {
		var err error
		if s.file, err = r.dir.OpenFile(s.name, os.O_RDWR, 0); err != nil {
			return nil, err
		}
	}
	if int64(cap(buf)) < length {
		buf = make([]byte, length)
	}
	buf = buf[:length]
	if n, err := s.file.ReadAt(buf, s.from); n < len(buf) {
		return nil, err
	}
	data, err := s.aead.Open(buf[:0], s.nonce(s.read), buf, additional(rec))
	if err != nil {
		return nil, ErrDamaged
	}
	return data, nil
}

// drop removes the i-th segment, which has no records any more.
func (r *Ring) drop(i int) {
	s := r.segments[i]
	s.rest()
	r.segments = slices.Delete(r.segments, i, i+1)
	r.rubbish[s.name] = s.size + s.waste
	r.clear()
}

// clear removes files that are of no use any more. What stays counts as used,
// and is tried again.
func (r *Ring) clear() {
	for name, size := range r.rubbish {
		if err := r.dir.Remove(name); err == nil || errors.Is(err, fs.ErrNotExist) {
			r.used.Add(-size)
			delete(r.rubbish, name)
		}
	}
}

// Close removes all that the ring has written, and forgets the key.
func (r *Ring) Close() error {
	for len(r.segments) > 0 {
		r.drop(len(r.segments) - 1)
	}
	r.clear()
	clear(r.key[:])
	var errs []error
	if n := len(r.rubbish); n > 0 {
		errs = append(errs, fmt.Errorf("remove ring: %d files remain in %s", n, r.dir.Path()))
	}
	return errors.Join(append(errs, r.release())...)
}
