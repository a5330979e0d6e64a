package segstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/weir-capture/weir/internal/atomicfile"
	"github.com/weir-capture/weir/internal/vfs"
	"github.com/weir-capture/weir/query"
)

const (
	// deletionsName is the journal of deletions, in the data directory;
	// deletionsCopy is the same again.
	deletionsName = "deletions.json"
	deletionsCopy = "deletions.copy.json"
	// maxDeletions bounds those that are remembered; the oldest go.
	maxDeletions = 10_000
	// maxJournal bounds what is read of it.
	maxJournal = 256 << 20
)

// journal is what was deleted, and what is being. A deletion is in it before
// anything of it is done. The file begins with the CRC-32C of what follows, as
// eight hexadecimal digits and a line feed; that is JSON.
type journal struct {
	fsys vfs.FS

	mu      sync.Mutex
	entries []*journalEntry // the oldest first
}

// journalEntry is one deletion.
type journalEntry struct {
	Deleted
	// Expression is the query that was run, with all that was ANDed to it.
	Expression string `json:"expression"`
	// Open are the bases of the segments that have some of it; Done: none has
	// any more, nor anything else.
	Open []uint64 `json:"open,omitempty"`
	Done bool     `json:"done"`
}

var errJournal = errors.New("malformed journal of deletions")

func openJournal(fsys vfs.FS, log *slog.Logger) (*journal, error) {
	j := &journal{fsys: fsys}
	found := false
	for _, name := range []string{deletionsName, deletionsCopy} {
		b, err := atomicfile.Read(fsys, name, maxJournal)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var entries []*journalEntry
		if err == nil {
			entries, err = decodeJournal(b)
		}
		if err != nil {
			log.Error("A journal of deletions is damaged; it is kept beside",
				slog.String("file", name), slog.String("kept", name+damagedName), slog.String("error", err.Error()))
			if err := fsys.Rename(name, name+damagedName); err != nil {
				return nil, fmt.Errorf("keep damaged %s: %w", name, err)
			}
			continue
		}
		if !found {
			j.entries, found = entries, true
		}
	}
	return j, nil
}

func encodeJournal(entries []*journalEntry) ([]byte, error) {
	b, err := json.MarshalIndent(entries, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", deletionsName, err)
	}
	return append(fmt.Appendf(nil, "%08x\n", crc32.Checksum(b, castagnoli)), b...), nil
}

func decodeJournal(b []byte) (entries []*journalEntry, err error) {
	sum, rest, ok := bytes.Cut(b, []byte("\n"))
	if !ok || string(sum) != fmt.Sprintf("%08x", crc32.Checksum(rest, castagnoli)) {
		return nil, fmt.Errorf("%w: its checksum is wrong", errJournal)
	}
	if err := json.Unmarshal(rest, &entries); err != nil {
		return nil, fmt.Errorf("%w: %w", errJournal, err)
	}
	for _, e := range entries {
		if e == nil {
			return nil, fmt.Errorf("%w: an entry is missing", errJournal)
		}
		if _, err := uuid.Parse(e.ID); err != nil {
			return nil, fmt.Errorf("%w: id: %w", errJournal, err)
		}
		if _, err := query.Parse(e.Expression); err != nil {
			return nil, fmt.Errorf("%w: query of %s: %w", errJournal, e.ID, err)
		}
	}
	return entries, nil
}

// put makes durable what is known of a deletion, of which there may be an
// earlier entry.
func (j *journal) put(e *journalEntry) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := *e
	c.Open, c.Proof.Segments = slices.Clone(e.Open), slices.Clone(e.Proof.Segments)
	entries := slices.Clone(j.entries)
	if i := slices.IndexFunc(entries, func(o *journalEntry) bool { return o.ID == e.ID }); i >= 0 {
		entries[i] = &c
	} else {
		entries = append(entries, &c)
	}
	if n := len(entries) - maxDeletions; n > 0 {
		entries = entries[n:]
	}
	b, err := encodeJournal(entries)
	if err != nil {
		return err
	}
	for _, name := range []string{deletionsName, deletionsCopy} {
		if err := atomicfile.Write(j.fsys, name, b); err != nil {
			return err
		}
	}
	j.entries = entries
	return nil
}

// open are the deletions that are not done; the caller may change them.
func (j *journal) open() (list []*journalEntry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.entries {
		if !e.Done {
			c := *e
			list = append(list, &c)
		}
	}
	return list
}

// list has those that are done, the newest first.
func (j *journal) list() (list []Deleted) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range slices.Backward(j.entries) {
		if e.Done {
			list = append(list, e.Deleted)
		}
	}
	return list
}
