package spool_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/weir-capture/weir/internal/vfs"
	"github.com/weir-capture/weir/seglog"
	"github.com/weir-capture/weir/spool"
)

// The promises are tested with records that stand for one batch each: the head
// of a batch is "D" and its number, that of a declaration "L" and the numbers
// of the batches that it declares lost.

func batch(i int) seglog.Record {
	r := rand.New(rand.NewPCG(uint64(i), 1))
	body := make([]byte, 20+r.IntN(200))
	for j := range body {
		body[j] = byte(r.Uint32())
	}
	return seglog.Record{Head: binary.BigEndian.AppendUint32([]byte("D"), uint32(i)), Body: body}
}

func batchesOf(head []byte) (declared bool, ns []int) {
	for b := head[1:]; len(b) >= 4; b = b[4:] {
		ns = append(ns, int(binary.BigEndian.Uint32(b)))
	}
	return head[0] == 'L', ns
}

func condense(heads iter.Seq[[]byte]) ([]seglog.Record, error) {
	head := []byte("L")
	for h := range heads {
		_, ns := batchesOf(h)
		for _, n := range ns {
			head = binary.BigEndian.AppendUint32(head, uint32(n))
		}
	}
	if len(head) == 1 {
		return nil, nil
	}
	return []seglog.Record{{Head: head}}, nil
}

// owner is what has a spool: it remembers which batches it has acknowledged,
// by the state at the head of each segment and the records behind it.
type owner struct {
	*spool.Spool
	dir      vfs.FS
	accepted map[int]bool
}

func openOwner(d vfs.FS, opt spool.Options) (*owner, error) {
	o := &owner{dir: d, accepted: map[int]bool{}}
	opt.Condense = condense
	opt.State = func() []byte {
		var b []byte // ranges, first and last
		for _, n := range slices.Sorted(maps.Keys(o.accepted)) {
			if len(b) > 0 && int(binary.BigEndian.Uint32(b[len(b)-4:])) == n-1 {
				b = b[:len(b)-4]
			} else {
				b = binary.BigEndian.AppendUint32(b, uint32(n))
			}
			b = binary.BigEndian.AppendUint32(b, uint32(n))
		}
		return b
	}
	var err error
	if o.Spool, err = spool.OpenFS(d, withKey(opt)); err != nil {
		return nil, err
	}
	state, from, err := o.Log().LastState()
	if err != nil {
		return nil, err
	}
	for ; len(state) >= 8; state = state[8:] {
		for n := binary.BigEndian.Uint32(state); n <= binary.BigEndian.Uint32(state[4:]); n++ {
			o.accepted[int(n)] = true
		}
	}
	for e, err := range o.Log().Heads(from) {
		if _, damaged := errors.AsType[*seglog.CorruptError](err); damaged {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("recover: %w", err)
		}
		_, ns := batchesOf(e.Head)
		for _, n := range ns {
			o.accepted[n] = true
		}
	}
	return o, nil
}

// take appends batches as one group.
func (o *owner) take(ns ...int) (next uint64, err error) {
	records := make([]seglog.Record, len(ns))
	for i, n := range ns {
		records[i] = batch(n)
		records[i].Committed = func(uint64, uint64) { o.accepted[n] = true }
	}
	return o.Append(records...)
}

// note appends what says that a batch was dropped.
func (o *owner) note(n int) error {
	_, err := o.AppendNotes(seglog.Record{
		Head:      binary.BigEndian.AppendUint32([]byte("L"), uint32(n)),
		Committed: func(uint64, uint64) { o.accepted[n] = true },
	})
	return err
}

// contents is what a reader gets from an offset on: batches, those declared
// lost, and damage.
type contents struct {
	batches  map[int]uint64 // by number: where it stands
	declared map[int]bool
	damage   []*seglog.CorruptError
	removed  []*seglog.RemovedError
}

func contentsFrom(t *testing.T, s *spool.Spool, from uint64) contents {
	t.Helper()
	c := contents{batches: map[int]uint64{}, declared: map[int]bool{}}
	r := s.Log().Reader(from)
	defer r.Close()
	for {
		e, err := r.TryNext()
		if errors.Is(err, seglog.ErrEnd) {
			return c
		}
		if ce, ok := errors.AsType[*seglog.CorruptError](err); ok {
			c.damage = append(c.damage, ce)
			continue
		}
		if re, ok := errors.AsType[*seglog.RemovedError](err); ok {
			c.removed = append(c.removed, re)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		declared, ns := batchesOf(e.Head)
		if declared {
			for _, n := range ns {
				c.declared[n] = true
			}
			continue
		}
		if want := batch(ns[0]); string(want.Body) != string(e.Body) {
			t.Fatalf("batch %d at %d is not as it was written", ns[0], e.Offset)
		}
		if at, twice := c.batches[ns[0]]; twice {
			t.Fatalf("batch %d stands at %d and at %d", ns[0], at, e.Offset)
		}
		c.batches[ns[0]] = e.Offset
	}
}

// ticking is a clock that goes on by a third of a second at each look, so that
// what depends on time is the same in every run.
func ticking() func() time.Time {
	now := time.Unix(1e9, 0)
	return func() time.Time {
		now = now.Add(time.Second / 3)
		return now
	}
}
