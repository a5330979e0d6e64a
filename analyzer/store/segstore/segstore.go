// Package segstore is the embedded store: a segment log that is the truth, and
// an index beside it that can be deleted.
//
// A frame is stored as the forwarder made it, in a record whose head adds
// where it came from and when (record.go). The record's fsync is the commit
// and the acknowledgement. The index follows within half a second; until then
// the rows of what is new are kept in memory, and every answer is made of
// both, divided at an offset of the log: below it the index, from it on the
// memory. When the index is missing or cannot be trusted it is made again from
// the log, which always gives the same answers.
//
//	DATA_DIR/
//	  LOCK        held by the process that has the directory; says its id
//	  keys.json   wrapped keys of the log, where it is encrypted; keys.copy.json
//	  deletions.json  what was deleted by query, and is being
//	  META.json   version of the layout, id of the store; META.copy.json is the same again
//	  seg/        the log (package seglog), in quarantine/ what was damaged of it
//	  index/      disposable
//	  ballast     room that is given up when the disk is full
package segstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/endpoint"
	"github.com/weir-capture/weir/analyzer/store/index"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/internal/keyring"
	"github.com/weir-capture/weir/internal/vfs"
	"github.com/weir-capture/weir/query"
	"github.com/weir-capture/weir/seglog"
)

// OpenIndex opens the index of a store in a directory of its own. end is the
// end of the log: an index that knows more is of no use.
type OpenIndex func(ctx context.Context, dir, storeID string, end uint64) (index.Index, error)

// Options of a store. Zero values mean the defaults that stand beside them.
type Options struct {
	// Dir is the data directory, made when it is missing.
	Dir string
	// OpenIndex is needed.
	OpenIndex OpenIndex
	// Master, when set, encrypts what is stored from now on (crypt.go). A store
	// with encrypted segments cannot be opened without it.
	Master *keyring.Master
	// LogFS, when set, is where the log is instead of in Dir. The store closes
	// it.
	LogFS vfs.FS
	// Retention is how long pairs are kept after they arrived; 0: for ever.
	Retention time.Duration
	// RetentionBytes bounds what log, the files beside it and index take
	// together; 0: no bound. Both remove whole segments, so that what is kept
	// may be more by one.
	RetentionBytes int64
	// SegmentBytes and SegmentAge end a segment: 256 MiB, 1 h; less where
	// retention is short.
	SegmentBytes int64
	SegmentAge   time.Duration
	// IndexDelay is how long rows wait for others before they are indexed:
	// 250 ms. IndexRows is how many go at once: 10,000.
	IndexDelay time.Duration
	IndexRows  int
	// Backlog bounds the bytes of rows that wait for the index: 32 MiB.
	// Append waits for room.
	Backlog int64
	// RingBytes and RingPairs bound what is kept for live tails: 8 MiB of
	// frames, 4096 pairs.
	RingBytes int64
	RingPairs int
	// CacheBytes bounds the frames that are kept open for readers: 16 MiB.
	CacheBytes int64
	// ScanBudget bounds one answer's look into frames: 512 MiB.
	ScanBudget int64
	// Lookers is how many frames are opened at once for all who search: 2.
	Lookers int
	// Ballast is the size of a file that is given up when the disk is full, so
	// that retention, and opening, have room to work: 64 MiB, or a sixteenth of
	// a smaller disk. Less than 0: none. There is none where LogFS is set.
	Ballast int64
	// Endpoints are the templates that the index learns; nil for those that
	// follow from a path alone.
	Endpoints *endpoint.Templates
	// Beside are names of files in Dir that belong to a backup: what somebody
	// keeps there of the commits that he was told of.
	Beside []string
	// RetainEvery is how often retention looks: 1 min.
	RetainEvery time.Duration
	// TailSign is how long a tail is silent at most: 5 s.
	TailSign time.Duration
	// ReadyWait is how long a reader waits for an index that is being made
	// before it is told so: 1 s.
	ReadyWait time.Duration
	// Committed, when set, is told of each frame that became durable, in the
	// order of the log and before its Append returns. Every append waits for
	// it: it must be quick, and must not call the store.
	Committed func(store.Commit)
	// Removing, when set, is told that retention is about to remove all
	// commits before a place: who needs them again after a start makes sure
	// that he does not.
	Removing func(before uint64)
	// Damaged, when set, is told of each stored frame that turns out to be
	// damaged and of which it can still be told what was in it: where in the
	// store's order it stands, and its head; where that is what was damaged,
	// one without the batch's number, made from its pairs. After a start it may be told of the same again.
	Damaged func(at uint64, head *capturev1.FrameHead)
	// Hiding, when set, is told that pairs of which Damaged told are about to
	// disappear from lists and counts. Nobody comes upon them after that: who
	// needs to know of them makes sure that he does.
	Hiding func()
	// Erased, when set, is told of each frame that a deletion took pairs from,
	// once they are gone, and Settle before it is done: who counts makes sure
	// that he still knows after a start.
	Erased func(store.Erased)
	Settle func() error
	// PurgeEvery is how often the index is written anew at most, for what
	// retention has removed from it: 5 min.
	PurgeEvery time.Duration
	// Now is the clock: time.Now.
	Now func() time.Time
	// Elapsed is the time that has passed since some moment, whatever Now is
	// set to: time.Since of the moment of Open.
	Elapsed func() time.Duration
}

func (o Options) withDefaults() Options {
	def(&o.SegmentBytes, 256<<20)
	if o.RetentionBytes > 0 {
		// Whole segments go, so there have to be some.
		o.SegmentBytes = max(min(o.SegmentBytes, o.RetentionBytes/8), 1<<20)
	}
	def(&o.SegmentAge, time.Hour)
	if o.Retention > 0 {
		o.SegmentAge = max(min(o.SegmentAge, o.Retention/8), time.Second)
	}
	def(&o.IndexDelay, 250*time.Millisecond)
	def(&o.IndexRows, 10_000)
	def(&o.Backlog, 32<<20)
	def(&o.RingBytes, 8<<20)
	def(&o.RingPairs, 4096)
	def(&o.CacheBytes, 16<<20)
	def(&o.ScanBudget, 512<<20)
	def(&o.Lookers, 2)
	def(&o.Ballast, 64<<20)
	def(&o.RetainEvery, time.Minute)
	def(&o.PurgeEvery, purgeEvery)
	def(&o.TailSign, 5*time.Second)
	def(&o.ReadyWait, time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Elapsed == nil {
		opened := time.Now()
		o.Elapsed = func() time.Duration { return time.Since(opened) }
	}
	return o
}

func def[T ~int | ~int64](v *T, value T) {
	if *v == 0 {
		*v = value
	}
}

// Store implements store.Writer and store.Reader.
type Store struct {
	opt      Options
	log      *slog.Logger
	dir      *directory
	seglog   *seglog.Log
	delivery *delivery
	recovery Recovery
	// keys encrypt the log; nil: nothing does.
	keys *keyring.Ring
	// unread are stretches that cannot be read, and must have no rows.
	unread unread

	// room counts the bytes of rows that are appended and not indexed.
	room *semaphore.Weighted
	// gates let one Append of a spool at a time through.
	gates gates
	live  *live
	cache *frameCache
	index indexHandle
	// sidecars know which words are where.
	sidecars sidecars
	// looks at frames: this many are opened at once for all who search.
	lookers *semaphore.Weighted
	// heavy lets few aggregations run at once, so that lists stay quick.
	heavy *semaphore.Weighted

	counters counters
	damages  damages
	// lastAt is when the newest frame arrived, lastOff where it stands; 0 when
	// there is none in the newest segment.
	lastAt  atomic.Int64
	lastOff atomic.Uint64
	ages    ages
	// looks counts how often retention has looked.
	looks atomic.Int64
	disk  disk
	// removing is held while segments are removed.
	removing sync.Mutex
	// deleting is held by a deletion, journal has them all.
	deleting sync.Mutex
	journal  *journal
	// closing is closed when Run is to end.
	closing chan struct{}
	purges  purges
	// rowsBelow is the offset below which retention still has to remove rows;
	// 0: none. It is the retention loop's own.
	rowsBelow uint64
}

// heavyQueries is how many aggregations run at once.
const heavyQueries = 2

var (
	_ store.Writer    = (*Store)(nil)
	_ store.Reader    = (*Store)(nil)
	_ store.Committer = (*Store)(nil)
	_ store.Stats     = (*Store)(nil)
	_ store.Scanner   = (*Store)(nil)
)

// Recovery says what Open found.
type Recovery struct {
	// Clean: the store had been closed in order.
	Clean bool
	// CutBytes of a torn tail were removed; none of it had been acknowledged.
	CutBytes int64
	// Segments and Bytes of the log, and the spools that are known.
	Segments int
	Bytes    int64
	Spools   int
}

type counters struct {
	frames, pairs, duplicates, unreadable, damagedRecords, damagedPairs, indexRebuilds atomic.Uint64
}

// Counters are cumulative since Open.
type Counters struct {
	// Frames and Pairs were appended.
	Frames, Pairs uint64
	// Duplicates are batches that had come by another spool.
	Duplicates uint64
	// Unreadable are frames that were stored and could not be opened.
	Unreadable uint64
	// DamagedRecords are stretches of the log that were found unreadable,
	// DamagedPairs the pairs that were in them where a record's head still
	// says so. Nobody looks for them: what is not read is not found.
	DamagedRecords, DamagedPairs uint64
	// IndexRebuilds counts how often the index was begun anew.
	IndexRebuilds uint64
	// Backlog is how many pairs are not indexed yet.
	Backlog int
}

// Open opens the store, or makes a new one. It is of use once Run runs.
// Errors: store.ErrLocked when another process has the directory.
func Open(opt Options, log *slog.Logger) (s *Store, err error) {
	opt = opt.withDefaults()
	s = &Store{
		opt: opt, log: log,
		room:    semaphore.NewWeighted(opt.Backlog),
		gates:   gates{open: map[store.ID]*gate{}},
		heavy:   semaphore.NewWeighted(heavyQueries),
		lookers: semaphore.NewWeighted(int64(opt.Lookers)),
		cache:   newFrameCache(opt.CacheBytes),
		ages:    ages{elapsed: opt.Elapsed},
		closing: make(chan struct{}),
		// What was removed before may be in the index's file still.
		purges: purges{owed: opt.Retention > 0 || opt.RetentionBytes > 0, at: opt.Elapsed()},
	}
	s.index.init()
	s.unread.more = make(chan struct{}, 1)
	if s.dir, err = openDirectory(opt.Dir, opt.Now(), log); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
			s = nil
		}
	}()
	if err = s.openKeys(); err != nil {
		return s, err
	}
	if s.journal, err = openJournal(s.dir.fsys, log); err != nil {
		return s, err
	}
	if opt.LogFS == nil {
		if s.opt.LogFS, err = vfs.Dir(filepath.Join(opt.Dir, logDir)); err != nil {
			return s, fmt.Errorf("open log: %w", err)
		}
	}
	s.seglog, err = seglog.OpenFS(s.opt.LogFS, seglog.Options{
		SegmentBytes: opt.SegmentBytes,
		SegmentAge:   opt.SegmentAge,
		State:        func() []byte { return s.delivery.encode() },
		Keys:         s.ring,
		Now:          opt.Now,
	})
	if err != nil {
		return s, err
	}
	if err := s.recover(); err != nil {
		return s, fmt.Errorf("recover from log: %w", err)
	}
	s.passOver()
	if err := s.openBallast(opt.LogFS != nil); err != nil {
		return s, fmt.Errorf("open ballast: %w", err)
	}
	s.live = newLive(opt.RingBytes, opt.RingPairs, s.seglog.Next())
	s.sidecars.init(s.seglog.Next())
	return s, nil
}

// recover reads back, from the newest segment, what has come.
func (s *Store) recover() error {
	state, from, err := s.seglog.LastState()
	if err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	if s.delivery, err = decodeDelivery(state); err != nil {
		return err
	}
	// After a crash the bodies are looked at too: of a write that was torn, any
	// part may have survived.
	records := s.seglog.Heads
	clean := s.seglog.Recovery().Clean
	if !clean {
		records = s.seglog.Records
	}
	// lost: something cannot be read. What stood there was perhaps never
	// acknowledged, and then has to come again.
	lost := false
	for e, err := range records(from) {
		if _, shredded := errors.AsType[*seglog.RemovedError](err); shredded {
			lost = true
			continue
		}
		if err != nil {
			damage, ok := errors.AsType[*seglog.CorruptError](err)
			if !ok {
				return fmt.Errorf("read records: %w", err)
			}
			e.Offset, e.Head = damage.Offset, damage.Head
			lost = lost || !clean
			if !clean || e.Head == nil {
				s.forgo(damage)
				continue
			}
		}
		w, err := decodeWrapper(e.Head)
		if err != nil {
			return fmt.Errorf("read record at offset %d: %w", e.Offset, err)
		}
		s.lastAt.Store(w.at)
		if w.mark {
			continue
		}
		s.lastOff.Store(e.Offset)
		s.delivery.commit(&w, newsOf(headOf(&w), w.unreadable))
		if w.version == 1 && !lost {
			s.delivery.skip(w.spool, w.offset) // it came in order
		}
	}
	r := s.seglog.Recovery()
	s.recovery = Recovery{
		Clean: r.Clean, CutBytes: r.CutBytes,
		Segments: len(s.seglog.Segments()), Bytes: s.seglog.Bytes(), Spools: len(s.delivery.spools),
	}
	return nil
}

// forgo takes note of a damaged record whose frame is to come again, if anybody
// still has it. Where its head says which batch it was, the batch is lost until
// then: what it was counted as is taken back when it comes.
func (s *Store) forgo(c *seglog.CorruptError) {
	if w, err := decodeWrapper(c.Head); err == nil && !w.duplicate {
		if h := headOf(&w); h != nil {
			s.delivery.lose(epoch(h.GetSource().GetEpoch()), h.GetBatchSeq(), w.at)
		}
	}
	s.note(c, false)
}

// headOf is the head of a record's frame, nil when there is none that can be
// read.
func headOf(w *wrapper) *capturev1.FrameHead {
	if w.mark || w.missing != "" {
		return nil
	}
	h, err := frame.Head(w.frameHead)
	if err != nil {
		return nil
	}
	return h
}

// Recovery says what Open found.
func (s *Store) Recovery() Recovery { return s.recovery }

// ID identifies the store for as long as it lives.
func (s *Store) ID() string { return s.dir.meta.Store }

// Counters are for metrics and health.
func (s *Store) Counters() Counters {
	c := &s.counters
	return Counters{
		Frames: c.frames.Load(), Pairs: c.pairs.Load(), Duplicates: c.duplicates.Load(), Unreadable: c.unreadable.Load(),
		DamagedRecords: c.damagedRecords.Load(), DamagedPairs: c.damagedPairs.Load(),
		IndexRebuilds: c.indexRebuilds.Load(), Backlog: s.live.backlog(),
	}
}

// Run indexes and removes what is too old until ctx ends, then indexes what is
// left and returns nil. Appends and reads wait until it runs.
func (s *Store) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	stop := context.AfterFunc(ctx, func() { close(s.closing) })
	defer stop()
	wg.Go(func() { s.retainLoop(ctx) })
	wg.Go(func() { s.sidecarLoop(ctx) })
	wg.Go(s.makeBallast)
	s.indexLoop(ctx)
	wg.Wait()
	return nil
}

// Close closes the files, after Run has returned. Calls under way fail.
func (s *Store) Close() error {
	var errs []error
	errs = append(errs, s.index.set(nil))
	if s.seglog != nil {
		errs = append(errs, s.seglog.Close())
	}
	if s.dir != nil {
		errs = append(errs, s.dir.close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// matcher decides for whole pairs, and for those of lists where the row has
// all that is asked about.
func (s *Store) matcher(q *query.Query) *query.Matcher {
	if q == nil || q.Root == nil {
		q = &query.Query{Root: query.And{}}
	}
	return q.Matcher(query.WithEndpoint(s.endpoint))
}

// endpoint is the template of a pair's path by what is known now.
func (s *Store) endpoint(p *capturev1.RRPair) string {
	return s.opt.Endpoints.Of(endpoint.Request{
		App: p.GetSource().GetApp(), Method: p.GetMethod(), Path: p.GetPath(), NotFound: p.GetStatus() == 404,
	})
}
