package segstore

import (
	"fmt"
	"iter"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/seglog"
)

// End is the place in the store's own order behind everything that was
// committed: a Commits from there yields what comes after. A place above it is
// of another store, or of a newer copy of this one.
func (s *Store) End() uint64 { return s.logEnd() }

// Commits implements store.Committer. It reads heads only. What retention
// removes meanwhile is left out.
func (s *Store) Commits(from uint64) iter.Seq2[store.Commit, error] {
	return func(yield func(store.Commit, error) bool) {
		for e, err := range s.seglog.Heads(from) {
			if err != nil {
				if seglog.IsDamage(err) {
					continue
				}
				yield(store.Commit{}, fmt.Errorf("read commits: %w", err))
				return
			}
			w, err := decodeWrapper(e.Head)
			if err != nil {
				yield(store.Commit{}, fmt.Errorf("read commit at offset %d: %w", e.Offset, err))
				return
			}
			if w.mark {
				continue
			}
			head := headOf(&w)
			if head == nil && w.missing == "" && !w.duplicate {
				w.unreadable = true // version 1 did not say
			}
			if !yield(w.commit(head, e.Next), nil) {
				return
			}
		}
	}
}
