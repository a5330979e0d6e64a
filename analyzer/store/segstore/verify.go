package segstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/segstore/segidx"
	"github.com/weir-capture/weir/internal/atomicfile"
	"github.com/weir-capture/weir/internal/keyring"
	"github.com/weir-capture/weir/internal/vfs"
	"github.com/weir-capture/weir/seglog"
)

// Report is what Verify found.
type Report struct {
	// Store and Format are as in META.json; empty when that cannot be read.
	Store  string `json:"store"`
	Format int    `json:"format"`
	// Clean: the store had been closed in order. Otherwise TornBytes at the
	// end of the log may be of a write that was under way, and are no damage.
	Clean     bool  `json:"clean"`
	TornBytes int64 `json:"torn_bytes"`
	// Segments and their Bytes, the Records in them, and the Pairs in these.
	Segments int    `json:"segments"`
	Bytes    int64  `json:"bytes"`
	Records  uint64 `json:"records"`
	Pairs    uint64 `json:"pairs"`
	// Records without pairs: of batches that had come before, of frames that
	// came unreadable, of stretches that were missing in a spool.
	Duplicates uint64 `json:"duplicates"`
	Unreadable uint64 `json:"unreadable"`
	Missing    uint64 `json:"missing"`
	// DamagedRecords cannot be read; Damaged has the first of them.
	DamagedRecords uint64   `json:"damaged_records"`
	Damaged        []Damage `json:"damaged,omitempty"`
	// Shredded segments have no key any more: on purpose, nothing in them can be
	// read. Deleted pairs were deleted by query.
	Shredded int    `json:"shredded,omitempty"`
	Deleted  uint64 `json:"deleted,omitempty"`
	// Sidecars are the files beside sealed segments.
	Sidecars SidecarReport `json:"sidecars"`
	// Problems are other things that are wrong, in words.
	Problems []string `json:"problems,omitempty"`
}

// Damage is a stretch of the log that cannot be read.
type Damage struct {
	Segment string `json:"segment"`
	Offset  uint64 `json:"offset"`
	Next    uint64 `json:"next"`
	// Part is as in seglog.CorruptError.
	Part string `json:"part"`
	// Pairs that were in it, where its head still says so.
	Pairs uint64 `json:"pairs"`
}

// SidecarReport counts the files beside sealed segments. Missing and bad ones
// are no loss: the store makes them again.
type SidecarReport struct {
	Good    int      `json:"good"`
	Missing int      `json:"missing"`
	Bad     int      `json:"bad"`
	Reasons []string `json:"reasons,omitempty"` // of the first bad ones
}

// OK reports whether everything that was stored can be read.
func (r *Report) OK() bool { return r.DamagedRecords == 0 && len(r.Problems) == 0 }

// maxDetails bounds the lists of a Report.
const maxDetails = 100

// Verify reads every record of the store in dir, and the files beside them, and
// changes nothing. master is needed where something is encrypted. No process may
// have the store open: store.ErrLocked when one
// has. progress, when not nil, is told how far it is. Errors are of what kept
// it from reading; what it found wrong is in the report.
func Verify(ctx context.Context, dir string, master *keyring.Master, progress func(store.Progress)) (*Report, error) {
	r, err := verify(ctx, dir, master, progress)
	if err != nil {
		return nil, fmt.Errorf("verify store: %w", err)
	}
	return r, nil
}

func verify(ctx context.Context, dir string, master *keyring.Master, progress func(store.Progress)) (_ *Report, err error) {
	top, unlock, err := lockExisting(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	r := new(Report)
	for _, name := range []string{copyName, metaName} {
		b, err := atomicfile.Read(top, name, maxMeta)
		var m meta
		if err == nil {
			m, err = decodeMeta(b)
		}
		if err != nil {
			r.problem("%s: %v", name, err)
			continue
		}
		r.Store, r.Format = m.Store, m.Format
	}
	disk, err := top.Sub(logDir)
	if err != nil {
		return nil, err
	}
	log, err := seglog.OpenFS(vfs.ReadOnly(disk), seglog.Options{Keys: func(vfs.FS) (*keyring.Ring, error) { return readKeys(top, master) }})
	if err != nil {
		return nil, err
	}
	// A mark that it was closed cannot be written, and must not be.
	defer func() { _ = log.Close() }()
	c := log.Recovery()
	segs := log.Segments()
	r.Clean, r.TornBytes, r.Segments, r.Bytes = c.Clean, c.CutBytes, len(segs), log.Bytes()
	done := store.Progress{Of: r.Bytes}
	for i := range segs {
		list, err := r.segment(ctx, log, &segs[i], func(n int64) {
			if done.Scanned = min(done.Scanned+n, done.Of); progress != nil {
				progress(done)
			}
		})
		if err != nil {
			return nil, err
		}
		if sealed := i < len(segs)-1; sealed && !segs[i].Gone {
			if err := r.sidecar(disk, log, &segs[i], list); err != nil {
				return nil, err
			}
		}
	}
	if done.Scanned = done.Of; progress != nil {
		progress(done)
	}
	return r, nil
}

func (r *Report) problem(format string, args ...any) {
	if len(r.Problems) < maxDetails {
		r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
	}
}

// segment reads all records of a segment and gives those with pairs.
func (r *Report) segment(ctx context.Context, log *seglog.Log, seg *seglog.SegmentInfo, read func(int64)) ([]segidx.Frame, error) {
	var frames []segidx.Frame
	for e, err := range log.Records(seg.Base) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if c, ok := errors.AsType[*seglog.CorruptError](err); ok {
			if c.Offset >= seg.End {
				return frames, nil
			}
			r.damaged(c)
			continue
		}
		if _, ok := errors.AsType[*seglog.RemovedError](err); ok {
			r.Shredded++
			return frames, nil
		}
		if err != nil {
			return nil, err
		}
		if e.Offset >= seg.End {
			return frames, nil
		}
		read(int64(e.Next - e.Offset))
		h, err := readHead(e.Head)
		if err == nil && h.mark {
			continue
		}
		r.Records++
		switch {
		case err == nil && h.duplicate:
			r.Duplicates++
			continue
		case err == nil && h.missing != "":
			r.Missing++
			continue
		case err == nil:
			var d *decoded
			if d, err = openRecord(e.Offset, e.Head, e.Body); err == nil {
				r.Deleted += uint64(h.deleted)
				if len(d.pairs) > 0 {
					r.Pairs += uint64(len(d.pairs))
					frames = append(frames, entryOf(e.Offset, e.Next, d.bytes, d.pairs).Frame)
				}
				continue
			}
		}
		r.Unreadable++
	}
	return frames, nil
}

func (r *Report) damaged(c *seglog.CorruptError) {
	r.DamagedRecords++
	if len(r.Damaged) == maxDetails {
		return
	}
	d := Damage{Segment: c.Segment, Offset: c.Offset, Next: c.Next, Part: c.Part}
	if w, err := decodeWrapper(c.Head); err == nil && !w.duplicate {
		d.Pairs = uint64(w.left(headOf(&w)))
	}
	r.Damaged = append(r.Damaged, d)
}

// sidecar looks at the file of a segment that has these frames.
func (r *Report) sidecar(disk vfs.FS, log *seglog.Log, seg *seglog.SegmentInfo, frames []segidx.Frame) error {
	var key *segidx.Key
	if b, ok := log.IndexKey(seg.Base); ok {
		var err error
		if key, err = segidx.NewKey(b); err != nil {
			return err
		}
	}
	x, err := segidx.Open(disk, seg.Name, seg.Base, seg.End, key)
	if errors.Is(err, fs.ErrNotExist) {
		r.Sidecars.Missing++
		return nil
	}
	var listed []segidx.Frame
	if err == nil {
		listed, err = x.Check()
		err = errors.Join(err, x.Close())
	}
	if err == nil {
		err = sameFrames(listed, frames)
	}
	if err == nil {
		r.Sidecars.Good++
		return nil
	}
	if !errors.Is(err, segidx.ErrUseless) {
		return err
	}
	r.Sidecars.Bad++
	if len(r.Sidecars.Reasons) < maxDetails {
		r.Sidecars.Reasons = append(r.Sidecars.Reasons, err.Error())
	}
	return nil
}

// sameFrames compares what a file lists with what is there. What it lists as
// unreadable may be there again.
func sameFrames(listed, frames []segidx.Frame) error {
	i := 0
	for _, f := range listed {
		if f.Rows == 0 {
			continue
		}
		// What it lists and is not there was damaged since.
		if i < len(frames) && frames[i].Off < f.Off {
			return fmt.Errorf("%w: it does not list the record at %d", segidx.ErrUseless, frames[i].Off)
		}
		if i < len(frames) && frames[i].Off == f.Off {
			g := frames[i]
			if f.Next != g.Next || f.Rows != g.Rows || f.Raw != g.Raw || f.TimeMin != g.TimeMin || f.TimeMax != g.TimeMax {
				return fmt.Errorf("%w: it says something else of the record at %d", segidx.ErrUseless, f.Off)
			}
			i++
		}
	}
	if i < len(frames) {
		return fmt.Errorf("%w: it does not list the record at %d", segidx.ErrUseless, frames[i].Off)
	}
	return nil
}

// lockExisting opens and locks a data directory that is there.
func lockExisting(dir string) (top vfs.FS, unlock func() error, err error) {
	if _, err := os.Stat(filepath.Join(dir, logDir)); err != nil {
		return nil, nil, fmt.Errorf("no store in %s: %w", dir, err)
	}
	if top, err = vfs.Dir(dir); err != nil {
		return nil, nil, err
	}
	lock, err := lockDirectory(top)
	if err != nil {
		return nil, nil, errors.Join(err, top.Close())
	}
	return top, func() error { return errors.Join(lock.Close(), top.Close()) }, nil
}

func lockDirectory(d vfs.FS) (io.Closer, error) {
	lock, err := d.Lock(lockName)
	if locked, ok := errors.AsType[*vfs.LockedError](err); ok {
		return nil, fmt.Errorf("%w: %w", store.ErrLocked, locked)
	}
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	return lock, nil
}

// rebuildPoll is how often Rebuild looks how far it is.
const rebuildPoll = 50 * time.Millisecond

// Rebuild drops the index and the files beside segments of the store in
// opt.Dir, makes them again from the log, and closes the store. No process may
// have it open: store.ErrLocked when one has. progress, when not nil, is told
// how far it is. A Rebuild that is cancelled leaves a store that goes on with
// it when it is opened.
func Rebuild(ctx context.Context, opt Options, progress func(store.Progress), log *slog.Logger) error {
	if err := rebuild(ctx, opt, progress, log); err != nil {
		return fmt.Errorf("rebuild store: %w", err)
	}
	return nil
}

func rebuild(ctx context.Context, opt Options, progress func(store.Progress), log *slog.Logger) error {
	if err := dropDerived(opt.Dir); err != nil {
		return err
	}
	// Nothing is to be removed meanwhile.
	opt.Retention, opt.RetentionBytes = 0, 0
	s, err := Open(opt, log)
	if err != nil {
		return err
	}
	runCtx, stop := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- s.Run(runCtx) }()
	err = s.rebuilt(ctx, progress)
	stop()
	return errors.Join(err, <-ran, s.Close())
}

// dropDerived removes everything that can be made from the log.
func dropDerived(dir string) (err error) {
	top, unlock, err := lockExisting(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := os.RemoveAll(filepath.Join(dir, indexDir)); err != nil {
		return fmt.Errorf("remove index: %w", err)
	}
	disk, err := top.Sub(logDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, disk.Close()) }()
	names, err := disk.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, ok := segidx.IsName(name); ok {
			if err := removeFile(disk, name); err != nil {
				return err
			}
		}
	}
	return disk.SyncDir()
}

// rebuilt waits until the index and all files are there.
func (s *Store) rebuilt(ctx context.Context, progress func(store.Progress)) error {
	tick := time.NewTicker(rebuildPoll)
	defer tick.Stop()
	var told store.Progress
	for {
		segs := s.seglog.Segments()
		made := int64(0)
		missing := 0
		for i := range max(len(segs)-1, 0) {
			if _, ok := s.sidecars.of(segs[i].Base); ok {
				made += segs[i].Bytes
			} else {
				missing++
			}
		}
		ready := s.Ready() == nil
		if progress != nil {
			// Each byte of the log is read for the index, and for the words.
			p := store.Progress{Of: cmp.Or(told.Of, 2*s.seglog.Bytes()), Scanned: made + int64(min(s.index.done.Load(), math.MaxInt64))}
			if ready && missing == 0 {
				p.Scanned = p.Of
			}
			if p.Scanned = min(p.Scanned, p.Of); p.Scanned > told.Scanned || told.Of == 0 {
				told = p
				progress(p)
			}
		}
		if ready && missing == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
