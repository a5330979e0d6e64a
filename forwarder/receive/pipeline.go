package receive

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"

	"google.golang.org/protobuf/proto"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/forwarder/registry"
	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/seglog"
	"github.com/weir-capture/weir/spool"
)

// Redactor removes or masks what must not be kept. It is the one stage that
// edits pairs, and it runs before anything of them reaches a disk. An error
// means that a pair could not be made safe: its content is withheld.
type Redactor interface {
	// Redact edits p in place.
	Redact(p *capturev1.RRPair) error
	// Name says which rules are on; empty for none.
	Name() string
}

// NoRedaction leaves pairs as they are.
type NoRedaction struct{}

// Redact implements Redactor.
func (NoRedaction) Redact(*capturev1.RRPair) error { return nil }

// Name implements Redactor.
func (NoRedaction) Name() string { return "" }

// Reasons for drops, as they stand in heads and counts.
const (
	// ReasonSpoolFull: the spool was full and its policy is to refuse.
	ReasonSpoolFull = "spool_full"
	// ReasonUnencodable: a pair that no frame can hold.
	ReasonUnencodable = "unencodable"
	// ReasonFault: filtering, redacting or encoding a batch panicked.
	ReasonFault = "fault"
)

// prepared is a batch on its way into the spool.
type prepared struct {
	epoch registry.Epoch
	head  *capturev1.FrameHead
	rec   seglog.Record
}

// prepare filters, redacts and encodes a batch. A batch that makes one of them
// panic is dropped and counted: its proxy would send it again for ever.
func (r *Receiver) prepare(epoch registry.Epoch, source *capturev1.Source, b *capturev1.Batch) (p prepared, err error) {
	head := func() *capturev1.FrameHead {
		return &capturev1.FrameHead{
			Source: source, EpochStarted: b.GetEpochStarted(),
			BatchSeq: b.GetSeq(), FirstPairSeq: b.GetFirstPairSeq(), Received: uint32(len(b.GetPairs())),
			MaybeDuplicate: b.GetMaybeDuplicate(), Counters: b.GetCounters(),
		}
	}
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		r.set.Repeated.Log(slog.LevelError, "A batch could not be worked on; its pairs are dropped and counted",
			slog.String("panic", fmt.Sprint(v)), slog.String("stack", string(debug.Stack())))
		p, err = r.dropped(epoch, head(), ReasonFault)
	}()
	return r.encode(epoch, head(), source, b)
}

// dropped is a batch of which only the count is kept.
func (r *Receiver) dropped(epoch registry.Epoch, head *capturev1.FrameHead, reason string) (prepared, error) {
	n := head.GetReceived()
	for _, f := range head.GetFiltered() {
		n -= f
	}
	head.Dropped = map[string]uint32{reason: n}
	headBytes, _, err := frame.Make(head, nil)
	if err != nil {
		return prepared{}, fmt.Errorf("encode batch %d: %w", head.GetBatchSeq(), err)
	}
	return r.record(epoch, head, headBytes, nil), nil
}

func (r *Receiver) encode(epoch registry.Epoch, head *capturev1.FrameHead, source *capturev1.Source, b *capturev1.Batch) (prepared, error) {
	kept := make([]*capturev1.RRPair, 0, len(b.GetPairs()))
	for _, p := range b.GetPairs() {
		p.Source = source
		if rule, ok := r.set.Filter.Match(p); ok {
			if head.Filtered == nil {
				head.Filtered = map[string]uint32{}
			}
			head.Filtered[rule]++
			continue
		}
		if err := r.set.Redactor.Redact(p); err != nil {
			withhold(p)
			r.set.Repeated.Log(slog.LevelError, "Could not redact a pair; its content is withheld", slog.String("error", err.Error()))
		}
		kept = append(kept, p)
	}
	headBytes, body, err := frame.Make(head, kept)
	if err != nil {
		r.set.Repeated.Log(slog.LevelError, "Could not encode a batch; its pairs are dropped and counted", slog.String("error", err.Error()))
		return r.dropped(epoch, head, ReasonUnencodable)
	}
	return r.record(epoch, head, headBytes, body), nil
}

func (r *Receiver) record(epoch registry.Epoch, head *capturev1.FrameHead, headBytes, body []byte) prepared {
	seq := head.GetBatchSeq()
	return prepared{epoch, head, seglog.Record{
		Head: headBytes, Body: body,
		// In the order of the log, so that the state of the next segment has
		// exactly what stands before it.
		Committed: func(uint64, uint64) { r.set.Accepted.Add(epoch, seq) },
	}}
}

// withhold removes everything that an application or its client wrote.
func withhold(p *capturev1.RRPair) {
	for _, m := range []*capturev1.Message{p.GetRequest(), p.GetResponse()} {
		if m != nil {
			m.Head, m.Body, m.Trailers, m.Interim, m.Chunks, m.BodyHash = nil, nil, nil, nil, nil, nil
			m.Truncated = m.GetBodySize() > 0
		}
	}
	p.Host, p.Path, p.Query, p.Error, p.Tags = "", "", "", "", nil
	p.Flags = append(p.Flags, capturev1.Flag_FLAG_WITHHELD)
}

// commit makes batches durable, or counts durably that they were dropped. nil
// means that all of them may be acknowledged.
func (r *Receiver) commit(group []prepared) error {
	if len(group) == 0 {
		return nil
	}
	records := make([]seglog.Record, len(group))
	for i, p := range group {
		records[i] = p.rec
	}
	_, err := r.set.Spool.Append(records...)
	if errors.Is(err, spool.ErrFull) {
		for _, p := range group {
			if err := r.commitFull(p); err != nil {
				return err
			}
		}
		return nil
	}
	if err != nil {
		return err
	}
	for _, p := range group {
		r.count(p.head)
	}
	return nil
}

// commitFull takes one batch while the spool is full: what fits is kept, of
// what does not a note is, and if even that has no room the spool's own count
// is.
func (r *Receiver) commitFull(p prepared) error {
	_, err := r.set.Spool.Append(p.rec)
	if err == nil {
		r.count(p.head)
		return nil
	}
	if !errors.Is(err, spool.ErrFull) {
		return err
	}
	r.set.Repeated.Log(slog.LevelWarn, "The spool is full; new pairs are dropped and counted", slog.String("reason", ReasonSpoolFull))
	note := proto.CloneOf(p.head)
	dropped := maps.Clone(note.GetDropped())
	if dropped == nil {
		dropped = map[string]uint32{}
	}
	dropped[ReasonSpoolFull] += note.GetPairs()
	note.Dropped = dropped
	headBytes, _, err := frame.Make(note, nil)
	if err != nil {
		return fmt.Errorf("encode note of batch %d: %w", note.GetBatchSeq(), err)
	}
	n := r.record(p.epoch, note, headBytes, nil)
	_, err = r.set.Spool.AppendNote(n.rec)
	if err == nil {
		r.count(note)
		return nil
	}
	if !errors.Is(err, spool.ErrFull) {
		return err
	}
	// Nothing of the batch is kept, not even what was filtered.
	if err := r.set.Spool.CountDropped(ReasonSpoolFull, spool.Loss{Records: 1, Things: uint64(note.GetReceived())}); err != nil {
		return err
	}
	r.set.Accepted.Add(p.epoch, note.GetBatchSeq())
	return nil
}

// count adds what a durable head says to the totals.
func (r *Receiver) count(h *capturev1.FrameHead) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.totals.Pairs += uint64(h.GetPairs())
	for rule, n := range h.GetFiltered() {
		r.totals.Filtered[rule] += uint64(n)
	}
	for reason, n := range h.GetDropped() {
		r.totals.Dropped[reason] += uint64(n)
	}
}
