package segstore

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/segstore/segidx"
	"github.com/weir-capture/weir/internal/keyring"
	"github.com/weir-capture/weir/internal/vfs"
)

// With a master key (Options.Master) the log is encrypted from then on, by keys
// that stand wrapped in keys.json beside META.json (package keyring), and words
// in the files beside segments are keyed (package segidx). What was stored
// before stays as it is until retention removes it. The index is not encrypted.

// openKeys opens the ring of the store; nil where no master key is set.
func (s *Store) openKeys() (err error) {
	if s.opt.Master == nil {
		return nil
	}
	if s.keys, err = keyring.Open(s.dir.fsys, s.opt.Master); err != nil {
		return fmt.Errorf("open keys: %w", err)
	}
	return nil
}

// ring is seglog.Options.Keys.
func (s *Store) ring(vfs.FS) (*keyring.Ring, error) { return s.keys, nil }

// Encrypted reports whether what comes is encrypted.
func (s *Store) Encrypted() bool { return s.keys != nil }

// readKeys is the ring of a store that is only looked at.
func readKeys(top vfs.FS, m *keyring.Master) (*keyring.Ring, error) {
	if m == nil {
		return nil, nil
	}
	ring, err := keyring.Read(top, m)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return ring, err
}

// maxWordKeys bounds the keys that are kept. Making one costs microseconds.
const maxWordKeys = 64

// wordKey is what the words of the segment at base are keyed with; nil: nothing
// keys them.
func (s *Store) wordKey(base uint64) *segidx.Key {
	if s.keys == nil {
		return nil
	}
	c := &s.sidecars
	c.keyMu.Lock()
	defer c.keyMu.Unlock()
	if k, ok := c.wordKeys[base]; ok {
		return k
	}
	b, ok := s.seglog.IndexKey(base)
	if !ok {
		return nil // not encrypted, or not there
	}
	k, err := segidx.NewKey(b)
	if err != nil {
		return nil // of a key that has another length: not one of a segment's
	}
	if len(c.wordKeys) >= maxWordKeys || c.wordKeys == nil {
		c.wordKeys = map[uint64]*segidx.Key{}
	}
	c.wordKeys[base] = k
	return k
}

// comingKey is that of the segment that is written to just now. Where a record
// lands in another, fill looks again.
func (s *Store) comingKey() *segidx.Key {
	if s.keys == nil {
		return nil
	}
	return s.wordKey(s.seglog.Newest())
}

// rekey collects the words again of records that came into another segment than
// was thought.
func (s *Store) rekey(group []*incoming) {
	if s.keys == nil {
		return
	}
	for _, in := range group {
		if len(in.pairs) == 0 {
			continue
		}
		if key := s.wordKey(s.seglog.BaseOf(in.block.off)); in.bloom.Keyed() != key {
			w := s.sidecars.collectors.Get().(*segidx.Collector) // it has nothing else
			in.bloom, in.encoded = w.Collect(pairsOf(in.pairs), key)
			s.sidecars.collectors.Put(w)
		}
	}
}

// passOver has rows of what has no key any more removed from the index: of a
// shredding that a crash cut short.
func (s *Store) passOver() {
	for _, seg := range s.seglog.Segments() {
		if seg.Gone {
			s.unread.add(store.OffsetRange{From: seg.Base, To: seg.End})
			s.log.Info("The key of a segment was shredded; it cannot be read", slog.String("segment", seg.Name))
		}
	}
}

// keysFiles are in every backup: without them what is encrypted in it is worth
// nothing, and without the master key they are.
var keysFiles = []string{keyring.FileName, keyring.CopyName}

// besideFiles are files of the store itself that a backup has beside the log.
func besideFiles() []string { return append(slices.Clone(keysFiles), deletionsName, deletionsCopy) }
