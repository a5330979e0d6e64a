// Package file exports the spool to a file: one pair a line, as the JSON that
// Protocol Buffers define (with the names of the schema), in the order of the
// spool.
//
// Beside the file stands a mark that says how far it is, so that after a crash
// no pair is missing and none is there twice. The file belongs to this
// package, which cuts what stands behind the mark. It is rotated by size to
// the same name with a number behind it.
package file

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/forwarder/export"
	"github.com/weir-capture/weir/forwarder/filter"
	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/internal/backoff"
	"github.com/weir-capture/weir/internal/lograte"
	"github.com/weir-capture/weir/internal/vfs"
	"github.com/weir-capture/weir/seglog"
	"github.com/weir-capture/weir/spool"
)

// chunk is about how many bytes are made durable at a time.
const chunk = 1 << 20

// Settings are what an Exporter needs.
type Settings struct {
	// Name is the destination's; the spool has a cursor of this name.
	Name string
	// Path is the file's. Its directory is made when it is missing.
	Path string
	// MaxBytes: the file is rotated before it gets longer, but for one record
	// that is. Keep rotated files stay.
	MaxBytes int64
	Keep     int
	Spool    *spool.Spool
	// Filter says which pairs this destination does not want; nil: it wants
	// all.
	Filter *filter.Filter
	// Dir opens the file's directory; nil is vfs.Dir.
	Dir func(path string) (vfs.FS, error)
	// Rand gives numbers in [0, 1).
	Rand     func() float64
	Log      *slog.Logger
	Repeated *lograte.Logger
}

// Exporter implements export.Exporter.
type Exporter struct {
	set    Settings
	cursor *spool.Cursor

	complaint export.Complaint

	mu      sync.Mutex
	open    bool
	trouble string
	counts  counts

	rate export.Rate
}

// New makes an Exporter. It starts nothing.
func New(set Settings) *Exporter {
	if set.Dir == nil {
		set.Dir = vfs.Dir
	}
	return &Exporter{set: set, cursor: set.Spool.Cursor(set.Name)}
}

// Name implements export.Exporter.
func (e *Exporter) Name() string { return e.set.Name }

// Run implements export.Exporter. Whatever the disk does, it tries again.
func (e *Exporter) Run(ctx context.Context, drain <-chan struct{}) error {
	retry := backoff.Backoff{Min: 500 * time.Millisecond, Max: 5 * time.Second, Rand: e.set.Rand}
	for {
		began := time.Now()
		err := e.session(ctx, drain)
		if err == nil || ctx.Err() != nil || errors.Is(err, seglog.ErrClosed) {
			return nil
		}
		e.complain(err)
		select {
		case <-drain: // what it could not take waits in the spool
			return nil
		default:
		}
		if time.Since(began) > retry.Max {
			retry.Reset()
		}
		timer := time.NewTimer(retry.Next())
		select {
		case <-timer.C:
		case <-drain: // one more try, at once
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

func (e *Exporter) complain(err error) {
	text := err.Error()
	e.mu.Lock()
	e.trouble = text
	e.mu.Unlock()
	if !e.complaint.Due(text, time.Now()) {
		return
	}
	e.set.Log.Warn("Could not write to a file; pairs stay in the spool and are written later",
		slog.String("destination", e.set.Name), slog.String("path", e.set.Path), slog.String("error", text))
}

// session opens the file and writes until ctx ends, the disk fails, or all is
// written after drain was closed, which alone gives nil.
func (e *Exporter) session(ctx context.Context, drain <-chan struct{}) (err error) {
	d, err := e.set.Dir(filepath.Dir(e.set.Path))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	o, note, err := openOutput(d, filepath.Base(e.set.Path))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	if note != "" {
		e.set.Log.Warn("A file is not as it was left", slog.String("destination", e.set.Name), slog.String("path", e.set.Path), slog.String("problem", note))
	}
	from, same, err := e.begin(o)
	if err != nil {
		return err
	}
	defer func() {
		e.mu.Lock()
		e.open = false
		e.mu.Unlock()
	}()
	w := &writer{e: e, o: o}
	w.begin()
	if from != o.at.Offset || !same {
		w.next.Offset, w.next.Last, w.next.Sum = from, 0, 0
		o.stale = true
	}
	return w.run(ctx, drain, from)
}

// begin says where reading goes on: where the mark is, if it is of the same
// spool.
func (e *Exporter) begin(o *output) (from uint64, same bool, err error) {
	log, id := e.set.Spool.Log(), e.set.Spool.ID()
	same = o.known && bytes.Equal(o.at.Spool, id[:])
	if same && o.at.Sum != 0 {
		var cut bool
		if same, cut, err = holds(log, o.at); err != nil {
			return 0, false, err
		}
		if cut { // the next start could not tell any more
			o.at.Last, o.at.Sum, o.stale = 0, 0, true
		}
	}
	from = e.cursor.Offset()
	switch {
	case same:
		// The cursor may trail; it can be ahead only of a file that was put
		// back, which then gets again what the spool still has.
		from = o.at.Offset
	case o.known:
		e.set.Log.Warn("The file was written from another spool, or from a newer copy of this one; it goes on with what this spool has",
			slog.String("destination", e.set.Name), slog.String("path", e.set.Path), slog.Uint64("offset", from))
	}
	e.advance(from)
	e.mu.Lock()
	defer e.mu.Unlock()
	// Only a write says that all is well again: a full disk can be opened.
	e.open, e.counts = true, o.at.clone()
	return from, same, nil
}

// holds says whether the last record that the file has is the one that the log
// has there, as far as anybody can tell. cut: it was, and was cut with the end
// of the log when that was opened.
func holds(log *seglog.Log, at mark) (same, cut bool, err error) {
	if at.Offset > log.Next() {
		return false, false, nil
	}
	if at.Last < log.Oldest() {
		return true, false, nil
	}
	r := log.Reader(at.Last)
	defer r.Close()
	entry, err := r.TryNext()
	if ce, ok := errors.AsType[*seglog.CorruptError](err); ok {
		return ce.Offset == at.Last && ce.Next == at.Offset, false, nil
	}
	if _, ok := errors.AsType[*seglog.RemovedError](err); ok {
		return true, false, nil
	}
	if errors.Is(err, seglog.ErrEnd) || err == nil && entry.Offset >= at.Offset {
		// Nothing stands there. An older copy that was not cut has never had it.
		cut = log.Recovery().CutBytes > 0
		return cut, cut, nil
	}
	if err != nil {
		return false, false, fmt.Errorf("read the record that the file has last: %w", err)
	}
	return entry.Offset == at.Last && frame.Checksum(entry.Head, entry.Body) == at.Sum, false, nil
}

func (e *Exporter) advance(offset uint64) {
	if err := e.cursor.Advance(offset); err != nil && !errors.Is(err, seglog.ErrClosed) {
		e.set.Repeated.Log(slog.LevelError, "Could not write the cursor of a file",
			slog.String("destination", e.set.Name), slog.String("error", err.Error()))
	}
}

// writer brings records into the file.
type writer struct {
	e     *Exporter
	o     *output
	lines []byte
	next  mark // what holds once lines are durable
}

// begin begins the next mark where the durable one is.
func (w *writer) begin() {
	w.next = w.o.at
	w.next.counts = w.o.at.clone()
}

func (w *writer) run(ctx context.Context, drain <-chan struct{}, from uint64) error {
	// Waiting for records ends with drain.
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-drain:
			stop()
		case <-waiting.Done():
		}
	}()
	r := w.e.set.Spool.Log().Reader(from)
	defer r.Close()
	// The mark stands before the first line is written, so that what a crash
	// leaves behind it is known for what it is.
	if w.o.stale {
		if err := w.flush(); err != nil {
			return err
		}
	}
	for {
		entry, err := r.TryNext()
		if errors.Is(err, seglog.ErrEnd) {
			if err := w.flush(); err != nil {
				return err
			}
			w.e.advance(r.Offset())
			select {
			case <-drain:
				if r.Offset() >= w.e.set.Spool.Log().End() {
					return nil
				}
			default:
			}
			if entry, err = r.Next(waiting); waiting.Err() != nil && errors.Is(err, waiting.Err()) {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				continue // once more, and that is all
			}
		}
		if err := w.add(entry, err); err != nil {
			return err
		}
		if int64(len(w.lines)) >= min(chunk, w.e.set.MaxBytes) {
			if err := w.flush(); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// add takes what a reader gave. An error is the reader's that does not let it
// go on.
func (w *writer) add(entry seglog.Entry, err error) error {
	if ce, ok := errors.AsType[*seglog.CorruptError](err); ok {
		w.damaged(ce)
		return nil
	}
	if re, ok := errors.AsType[*seglog.RemovedError](err); ok {
		w.next.Offset = re.To // how many pairs that were the cursor knows
		return nil
	}
	if err != nil {
		return err
	}
	w.next.Offset, w.next.Last, w.next.Sum = entry.Next, entry.Offset, frame.Checksum(entry.Head, entry.Body)
	head, err := frame.Head(entry.Head)
	var pairs []*capturev1.RRPair
	if err == nil {
		pairs, err = frame.Pairs(head, entry.Body)
	}
	if err != nil {
		w.drop(frame.ReasonUnreadable, max(1, uint64(head.GetPairs())))
		w.e.set.Repeated.Log(slog.LevelError, "A record of the spool cannot be opened; its pairs are not in the file and counted",
			slog.String("destination", w.e.set.Name), slog.String("error", err.Error()))
		return nil
	}
	for _, p := range pairs {
		w.pair(p)
	}
	return nil
}

// names: the schema's, and one pair a line.
var names = protojson.MarshalOptions{UseProtoNames: true}

func (w *writer) pair(p *capturev1.RRPair) {
	if w.e.set.Filter != nil {
		if rule, ok := w.e.set.Filter.Match(p); ok {
			w.next.filter(rule, 1)
			return
		}
	}
	b, err := names.Marshal(p)
	line := bytes.NewBuffer(w.lines)
	if err == nil {
		// Its spaces differ from program to program on purpose; ours do not.
		err = json.Compact(line, b)
	}
	if err != nil {
		w.drop(frame.ReasonUnreadable, 1)
		w.e.set.Repeated.Log(slog.LevelError, "A pair cannot be written as JSON; it is not in the file and counted",
			slog.String("destination", w.e.set.Name), slog.String("error", err.Error()))
		return
	}
	w.lines = append(line.Bytes(), '\n')
	w.next.Written++
}

func (w *writer) damaged(ce *seglog.CorruptError) {
	w.next.Offset = ce.Next
	pairs := uint64(1) // at least
	if h, err := frame.Head(ce.Head); err == nil {
		pairs = uint64(h.GetPairs())
	}
	w.drop(frame.ReasonSpoolDamaged, pairs)
	w.e.set.Repeated.Log(slog.LevelError, "A record of the spool is damaged; its pairs are not in the file and counted",
		slog.String("destination", w.e.set.Name), slog.String("error", ce.Error()), slog.Uint64("pairs", pairs))
	if err := w.e.set.Spool.Log().Quarantine(ce); err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.e.set.Repeated.Log(slog.LevelWarn, "Could not keep the bytes of a record that is lost",
			slog.String("destination", w.e.set.Name), slog.String("error", err.Error()))
	}
}

func (w *writer) drop(reason string, n uint64) { w.next.Dropped[reason] += n }

// flush makes what was added durable, and then the cursor follows.
func (w *writer) flush() error {
	id := w.e.set.Spool.ID()
	if len(w.lines) == 0 && w.next.Offset == w.o.at.Offset && !w.o.stale && bytes.Equal(w.o.at.Spool, id[:]) {
		w.e.well(w.o.at.counts)
		return nil
	}
	w.next.Spool = id[:]
	if err := w.o.write(w.lines, w.next, w.e.set.MaxBytes, w.e.set.Keep); err != nil {
		return err
	}
	if w.lines = w.lines[:0]; cap(w.lines) > 4*chunk {
		w.lines = nil
	}
	w.begin()
	w.e.well(w.o.at.counts)
	w.e.advance(w.o.at.Offset)
	return nil
}

// well notes that the file takes what it gets.
func (e *Exporter) well(c counts) {
	e.complaint.Over()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.trouble, e.counts = "", c
}

// State implements export.Exporter.
func (e *Exporter) State() *capturev1.DestinationState {
	log, at := e.set.Spool.Log(), e.cursor.Offset()
	e.mu.Lock()
	defer e.mu.Unlock()
	st := &capturev1.DestinationState{
		Name: e.set.Name, Connected: e.open && e.trouble == "", Offset: at, Error: e.trouble,
		Dropped: cloneOf(e.counts.Dropped), Filtered: cloneOf(e.counts.Filtered),
	}
	if full := e.cursor.Lost().Things; full > 0 {
		st.Dropped[frame.ReasonSpoolFull] += full
	}
	if from, end := max(at, log.Oldest()), log.End(); from < end {
		st.BacklogBytes = end - from
	}
	st.BacklogEta = int64(e.rate.ETA(time.Now(), st.GetBacklogBytes()))
	return st
}
