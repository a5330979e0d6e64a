package segstore

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"slices"
	"sort"
	"sync"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/segstore/segidx"
	"github.com/weir-capture/weir/query"
	"github.com/weir-capture/weir/seglog"
)

// sidecars are what is known of the log's records beside the log: the files of
// sealed segments (package segidx), and in memory the same of the records that
// have none yet.
type sidecars struct {
	// collectors are of *segidx.Collector.
	collectors sync.Pool
	// sealed wakes the loop; one is enough.
	sealed chan struct{}

	// wordKeys are of encrypted segments, by base.
	keyMu    sync.Mutex
	wordKeys map[uint64]*segidx.Key

	mu sync.RWMutex
	// fresh are the records from from on that hold pairs, in the order of the
	// log. Their words come a moment after they do.
	fresh []segidx.Entry
	from  uint64
	// files are the segments that have a file, by base.
	files map[uint64]sidecar
	// renewed counts how often a segment was written anew: a file that is made
	// of the old one meanwhile is of no use.
	renewed map[uint64]int
	// dirs are the directories that were used last, the newest at the end.
	dirs      []directoryOf
	dirsBytes int64
}

// sidecar is the file of a segment.
type sidecar struct {
	segidx.Segment
	bytes int64
}

type directoryOf struct {
	base   uint64
	frames []segidx.Frame
}

const (
	// frameBytes is about what a frame takes in a directory.
	frameBytes = 56
	// maxDirectories bounds the directories that are kept, in bytes.
	maxDirectories = 12 << 20
)

func (c *sidecars) init(from uint64) {
	c.collectors.New = func() any { return new(segidx.Collector) }
	c.sealed = make(chan struct{}, 1)
	c.files = map[uint64]sidecar{}
	c.from = from
}

// words are collected while the log writes.
func (c *sidecars) words(group []*incoming, key *segidx.Key) {
	w := c.collectors.Get().(*segidx.Collector) // it has nothing else
	defer c.collectors.Put(w)
	for _, in := range group {
		if len(in.pairs) > 0 {
			in.bloom, in.encoded = w.Collect(pairsOf(in.pairs), key)
		}
	}
}

// add takes note of a durable record with pairs. The log calls it in order.
func (c *sidecars) add(e segidx.Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fresh = append(c.fresh, e)
}

// fill adds the words of records that were added.
func (c *sidecars) fill(group []*incoming) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, in := range group {
		if len(in.pairs) == 0 {
			continue
		}
		if i, ok := c.find(in.block.off); ok {
			c.fresh[i].Bloom, c.fresh[i].Encoded = in.bloom, in.encoded
		}
	}
}

// find is where in fresh the record at off is, or would be.
func (c *sidecars) find(off uint64) (int, bool) {
	i := sort.Search(len(c.fresh), func(i int) bool { return c.fresh[i].Off >= off })
	return i, i < len(c.fresh) && c.fresh[i].Off == off
}

// has reports whether what is known of the segment at base is in memory.
func (c *sidecars) has(base uint64) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return base >= c.from
}

// entryOf describes a record of pairs; its words are not known yet, and may be
// any.
func entryOf(off, next uint64, raw int64, pairs []*store.Stored) segidx.Entry {
	e := segidx.Entry{Frame: segidx.Frame{
		Off: off, Next: next, Rows: uint32(len(pairs)), Raw: uint32(raw),
		TimeMin: math.MaxInt64, TimeMax: math.MinInt64, Encoded: true,
	}}
	for _, p := range pairs {
		t := store.Time(p.Pair)
		e.TimeMin, e.TimeMax = min(e.TimeMin, t), max(e.TimeMax, t)
	}
	return e
}

// bytes is what the files take.
func (c *sidecars) bytes() (n int64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, f := range c.files {
		n += f.bytes
	}
	return n
}

// of is the file of a segment.
func (c *sidecars) of(base uint64) (sidecar, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	f, ok := c.files[base]
	return f, ok
}

// useless lets go of the file of a segment, so that it is made again.
func (c *sidecars) useless(base uint64) {
	c.mu.Lock()
	delete(c.files, base)
	c.dropDirectory(base)
	c.mu.Unlock()
	c.wake()
}

// renew is useless for a segment that was written anew up to end.
func (c *sidecars) renew(base, end uint64) {
	c.mu.Lock()
	c.drop(end)
	if c.renewed == nil {
		c.renewed = map[uint64]int{}
	}
	c.renewed[base]++
	c.mu.Unlock()
	c.useless(base)
}

func (c *sidecars) renewals(base uint64) int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.renewed[base]
}

func (c *sidecars) wake() {
	select {
	case c.sealed <- struct{}{}:
	default:
	}
}

func (c *sidecars) dropDirectory(base uint64) {
	if i := slices.IndexFunc(c.dirs, func(d directoryOf) bool { return d.base == base }); i >= 0 {
		c.dirsBytes -= int64(len(c.dirs[i].frames)) * frameBytes
		c.dirs = slices.Delete(c.dirs, i, i+1)
	}
}

// directory is a segment's, from memory or from its file.
func (c *sidecars) directory(x *segidx.File) ([]segidx.Frame, error) {
	base := x.Segment().Base
	c.mu.Lock()
	if i := slices.IndexFunc(c.dirs, func(d directoryOf) bool { return d.base == base }); i >= 0 {
		d := c.dirs[i]
		c.dirs = append(slices.Delete(c.dirs, i, i+1), d)
		c.mu.Unlock()
		return d.frames, nil
	}
	c.mu.Unlock()
	frames, err := x.Directory()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropDirectory(base)
	c.dirs = append(c.dirs, directoryOf{base, frames})
	c.dirsBytes += int64(len(frames)) * frameBytes
	for len(c.dirs) > 1 && c.dirsBytes > maxDirectories {
		c.dropDirectory(c.dirs[0].base)
	}
	return frames, nil
}

// letGo lets go of what is in memory below off.
func (c *sidecars) letGo(off uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(off)
}

func (c *sidecars) drop(off uint64) {
	if c.from < off {
		i, _ := c.find(off)
		c.fresh = slices.Clone(c.fresh[i:])
		c.from = off
	}
}

// forget lets go of everything below off.
func (c *sidecars) forget(off uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(off)
	for base, f := range c.files {
		if f.End <= off {
			delete(c.renewed, base)
			delete(c.files, base)
			c.dropDirectory(base)
		}
	}
}

// choice is what is known of the records of one segment.
type choice struct {
	// frames hold pairs; may tells which of them may have what is needed.
	frames []segidx.Frame
	may    []bool
}

// choose reads what is known of a segment's records; ok is false when nothing
// is. Records of the last segment become visible a moment before the log counts
// them in.
func (s *Store) choose(seg *seglog.SegmentInfo, last bool, n *query.Need) (c choice, ok bool, err error) {
	end := seg.End
	if last {
		end = math.MaxUint64
	}
	if c, ok := s.sidecars.choose(seg.Base, end, n); ok {
		return c, true, nil
	}
	if _, ok := s.sidecars.of(seg.Base); !ok {
		return choice{}, false, nil
	}
	c, err = s.chooseFile(seg, n)
	switch {
	case err == nil:
		return c, true, nil
	case errors.Is(err, segidx.ErrUseless):
		s.log.Warn("The index of a segment is of no use and is made again", slog.String("error", err.Error()))
	case !errors.Is(err, fs.ErrNotExist):
		return choice{}, false, fmt.Errorf("read index of segment %s: %w", seg.Name, err)
	}
	s.sidecars.useless(seg.Base)
	return choice{}, false, nil
}

func (s *Store) chooseFile(seg *seglog.SegmentInfo, n *query.Need) (c choice, err error) {
	x, err := segidx.Open(s.opt.LogFS, seg.Name, seg.Base, seg.End, s.wordKey(seg.Base))
	if err != nil {
		return choice{}, err
	}
	defer func() { err = errors.Join(err, x.Close()) }()
	if c.frames, err = s.sidecars.directory(x); err != nil {
		return choice{}, err
	}
	candidates, err := x.Candidates(n)
	if err != nil {
		return choice{}, err
	}
	c.may = make([]bool, len(c.frames))
	for i := range c.frames {
		c.may[i] = candidates.Has(&c.frames[i])
	}
	return c, nil
}

// choose is for a segment that is in memory as a whole.
func (c *sidecars) choose(base, end uint64, n *query.Need) (choice, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if base < c.from {
		return choice{}, false
	}
	from, _ := c.find(base)
	to, _ := c.find(end)
	out := choice{frames: make([]segidx.Frame, to-from), may: make([]bool, to-from)}
	for i := range out.frames {
		e := &c.fresh[from+i]
		out.frames[i], out.may[i] = e.Frame, e.Bloom.May(n)
	}
	return out, true
}
