package seglog

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"os"

	"github.com/weir-capture/weir/internal/failpoint"
	"github.com/weir-capture/weir/internal/vfs"
)

// rewriteSuffix is behind the name of a segment that is being rewritten.
const rewriteSuffix = segmentSuffix + ".tmp"

// Rewritten is what Rewrite did.
type Rewritten struct {
	// Segment is the file's name; Before and After are the SHA-256 of its
	// durable part, in hexadecimal digits. They are the same where nothing
	// was changed.
	Segment, Before, After string
	// Records were replaced; Bytes of the log hold nothing now that had held
	// something.
	Records int
	Bytes   int64
	// Damaged stretches were copied as they are: nobody can look into them.
	Damaged int
}

// Rewrite replaces records of a sealed segment, which begins at base, by others
// at the same offsets: the file that has them takes the place of the old one at
// once, and nothing of that stays. change is called for each record in order
// and gives the record that is to stand there instead, or nil to leave it. Head
// and body of that must together be exactly as long as room, or shorter by Hole
// at least. When change gives nothing, or an error, the segment is not touched.
// Readers see the old record or the new one.
//
// Only one Rewrite may run at a time, and no RemoveBefore beside it.
func (l *Log) Rewrite(base uint64, change func(e Entry, room int) (*Record, error)) (w Rewritten, err error) {
	s, err := l.sealedAt(base)
	if err != nil {
		return w, fmt.Errorf("rewrite segment: %w", err)
	}
	w.Segment = s.name
	if err := l.rewrite(s, change, &w); err != nil {
		return w, full(fmt.Errorf("rewrite segment %s: %w", s.name, err))
	}
	return w, nil
}

// Hole is what has to be left of a record's room at least, if anything is.
const Hole = recordHeaderLen

func (l *Log) sealedAt(base uint64) (*segment, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, ErrClosed
	}
	for _, s := range l.segs {
		switch {
		case s.base != base:
		case !s.sealed:
			return nil, fmt.Errorf("segment %s is being written to", s.name)
		case s.gone:
			return nil, fmt.Errorf("segment %s has no key any more", s.name)
		default:
			return s, nil
		}
	}
	return nil, fmt.Errorf("no segment at %d: %w", base, os.ErrNotExist)
}

// rewriting is a file in the making. Nothing is written until there is
// something to change.
type rewriting struct {
	fsys vfs.FS
	name string
	// f is nil until the first change; at is how far it is.
	f    vfs.File
	at   int64
	sum  hash.Hash
	old  hash.Hash
	zero []byte
}

func (l *Log) rewrite(s *segment, change func(Entry, int) (*Record, error), w *Rewritten) (err error) {
	v, err := l.view(s)
	if err != nil {
		return err
	}
	defer l.release(s)
	l.mu.Lock()
	prevBytes := s.end - s.base
	l.mu.Unlock()

	// First what is to change, then the copy: most segments stay as they are,
	// and of those nothing is written.
	changes := map[uint64]*Record{}
	for at := s.base + segmentHeaderLen; at < v.end; {
		r, err := v.step(at, partAll, nil)
		if err != nil {
			return err
		}
		switch {
		case r.damage != nil:
			w.Damaged++
		case r.kind == kindData:
			room := int(r.headLen) + int(r.bodyLen)
			if r.version == VersionEncrypted {
				room -= 2 * sealLen
			}
			rec, err := change(entry(at, r), room)
			if err != nil {
				return err
			}
			if rec != nil {
				if n := len(rec.Head) + len(rec.Body); n != room && n+Hole > room {
					return fmt.Errorf("record at offset %d: %d bytes do not fit into the %d that are there", at, n, room)
				}
				changes[at] = rec
			}
		}
		at = r.next
	}
	c := &rewriting{fsys: l.fsys, name: s.name + ".tmp", sum: sha256.New(), old: sha256.New(), zero: make([]byte, 64<<10)}
	if len(changes) > 0 {
		if c.f, err = l.fsys.OpenFile(c.name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
			return err
		}
		if err := c.f.Truncate(0); err != nil {
			return errors.Join(err, c.drop())
		}
	}
	if err := c.copy(&v, int64(prevBytes), changes, w); err != nil {
		return errors.Join(err, c.drop())
	}
	w.Before, w.After = hex.EncodeToString(c.old.Sum(nil)), hex.EncodeToString(c.sum.Sum(nil))
	if c.f == nil {
		return nil
	}
	err = c.f.Truncate(c.at) // a hole at the end has no bytes of its own
	if err == nil {
		err = c.f.Sync()
	}
	if err = errors.Join(err, c.f.Close()); err != nil {
		return errors.Join(err, l.fsys.Remove(c.name))
	}
	if err := failpoint.Hit(failpoint.DeletionBeforeSwap); err != nil {
		return errors.Join(err, l.fsys.Remove(c.name))
	}
	if err := l.fsys.Rename(c.name, s.name); err != nil {
		return errors.Join(err, l.fsys.Remove(c.name))
	}
	if err := l.fsys.SyncDir(); err != nil {
		return err
	}
	l.swap(s)
	return failpoint.Hit(failpoint.DeletionAfterSwap)
}

// swap has everybody who comes from now on open the new file.
func (l *Log) swap(s *segment) {
	l.fmu.Lock() // others use the old one's handle meanwhile
	l.mu.Lock()
	n := *s
	n.f, n.refs, n.used, n.removed = nil, 0, 0, false
	n.bytes = int64(s.end - s.base)
	segs := append([]*segment(nil), l.segs...)
	for i := range segs {
		if segs[i] == s {
			segs[i] = &n
		}
	}
	l.segs = segs
	l.mu.Unlock()
	l.fmu.Unlock()
	l.forget(s)
}

func (c *rewriting) drop() error {
	if c.f == nil {
		return nil
	}
	return errors.Join(c.f.Close(), c.fsys.Remove(c.name))
}

// copy copies size bytes from the beginning of v, with changes.
func (c *rewriting) copy(v *view, size int64, changes map[uint64]*Record, w *Rewritten) error {
	const chunk = 1 << 20
	buf := make([]byte, chunk)
	raw := func(from, to uint64) error { // as they are
		for from < to {
			b := buf[:min(to-from, chunk)]
			if err := v.readBlocks(b, from); err != nil {
				return err
			}
			c.old.Write(b)
			if err := c.put(b); err != nil {
				return err
			}
			from += uint64(len(b))
		}
		return nil
	}
	at, end := v.base, v.base+uint64(size)
	for next := at + segmentHeaderLen; next < end; {
		r, err := v.step(next, partHead, nil)
		if err != nil {
			return err
		}
		if rec := changes[next]; rec != nil && r.damage == nil {
			if err := raw(at, next); err != nil {
				return err
			}
			if err := c.hashOld(v, next, r.next, buf); err != nil {
				return err
			}
			gone, err := c.replace(v, next, &r.recordHeader, rec)
			if err != nil {
				return err
			}
			w.Records++
			w.Bytes += gone
			at = r.next
		}
		next = r.next
	}
	return raw(at, end)
}

func (c *rewriting) hashOld(v *view, from, to uint64, buf []byte) error {
	for from < to {
		b := buf[:min(to-from, uint64(len(buf)))]
		if err := v.readBlocks(b, from); err != nil {
			return err
		}
		c.old.Write(b)
		from += uint64(len(b))
	}
	return nil
}

func (c *rewriting) put(b []byte) error {
	c.sum.Write(b)
	if c.f != nil {
		if _, err := c.f.WriteAt(b, c.at); err != nil {
			return err
		}
	}
	c.at += int64(len(b))
	return nil
}

// replace writes a record, and a hole behind it for what is left of the room,
// and says how much that is. A hole's zeros are not written: where the file
// system can do that they take no room.
func (c *rewriting) replace(v *view, offset uint64, old *recordHeader, rec *Record) (gone int64, err error) {
	var seal *sealer
	if old.version == VersionEncrypted {
		if seal, err = v.sealer(); err != nil {
			return 0, err
		}
	}
	b := seal.append(nil, kindData, offset, v.salt, rec.Head, rec.Body)
	if err := c.put(b); err != nil {
		return 0, err
	}
	left := old.total() - int64(len(b))
	if left == 0 {
		return 0, nil
	}
	h := recordHeader{
		version: old.version, kind: kindHole, key: old.key, offset: offset + uint64(len(b)), salt: v.salt,
		bodyLen: uint32(left - recordHeaderLen),
	}
	var sum uint32
	for n := left - recordHeaderLen; n > 0; n -= int64(len(c.zero)) {
		sum = crc32.Update(sum, castagnoli, c.zero[:min(n, int64(len(c.zero)))])
	}
	h.bodyCRC = sum
	if err := c.put(h.append(nil)); err != nil {
		return 0, err
	}
	for n := left - recordHeaderLen; n > 0; n -= int64(len(c.zero)) {
		z := c.zero[:min(n, int64(len(c.zero)))]
		c.sum.Write(z)
		c.at += int64(len(z))
	}
	return left, nil
}
