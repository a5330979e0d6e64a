package receive

import (
	"errors"
	"fmt"
	"log/slog"
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

// prepared is a batch on its way into the spool.
type prepared struct {
	epoch registry.Epoch
	head  *capturev1.FrameHead
	rec   seglog.Record
	size  int64 // of the batch, as it came
}

// source is who sends the batches of a stream, also as pairs carry it.
type source struct {
	*capturev1.Source
	encoded []byte
}

// prepare filters, redacts and encodes a batch. A batch that makes one of them
// panic is dropped and counted: its proxy would send it again for ever.
func (r *Receiver) prepare(epoch registry.Epoch, src *source, m *incoming) (p prepared, err error) {
	b := m.req.GetBatch()
	head := func() *capturev1.FrameHead {
		h := &capturev1.FrameHead{
			Source: src.Source, EpochStarted: b.GetEpochStarted(),
			BatchSeq: b.GetSeq(), FirstPairSeq: b.GetFirstPairSeq(), Received: uint32(len(b.GetPairs())),
			MaybeDuplicate: b.GetMaybeDuplicate(), Counters: b.GetCounters(),
			BatchUnknown: b.ProtoReflect().GetUnknown(),
		}
		// Where no pair is left, when they were is all that tells which
		// minute they are missing from.
		for i, p := range b.GetPairs() {
			t := p.GetTiming().GetRequestFirst()
			if i == 0 {
				h.TimeMin, h.TimeMax = t, t
			}
			h.TimeMin, h.TimeMax = min(h.TimeMin, t), max(h.TimeMax, t)
		}
		return h
	}
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		r.set.Repeated.Log(slog.LevelError, "A batch could not be worked on; its pairs are dropped and counted",
			slog.String("panic", fmt.Sprint(v)), slog.String("stack", string(debug.Stack())))
		p, err = r.dropped(epoch, head(), frame.ReasonFault)
	}()
	return r.encode(epoch, head(), src, m)
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

func (r *Receiver) encode(epoch registry.Epoch, head *capturev1.FrameHead, src *source, m *incoming) (prepared, error) {
	pairs := m.req.GetBatch().GetPairs()
	kept := make([]*capturev1.RRPair, 0, len(pairs))
	// What nobody edits goes on as it came.
	asItCame := m.raw != nil && r.set.Redactor.Name() == ""
	var body *[]byte
	if asItCame {
		body = r.bodies.Get().(*[]byte) // the pool holds nothing else
		defer func() { r.bodies.Put(body) }()
		*body = (*body)[:0]
	}
	for i, p := range pairs {
		p.Source = src.Source
		if rule, ok := r.set.Filter.Match(p); ok {
			if head.Filtered == nil {
				head.Filtered = map[string]uint32{}
			}
			head.Filtered[rule]++
			continue
		}
		kept = append(kept, p)
		if asItCame {
			*body = frame.AppendPair(*body, m.raw[i], src.encoded)
			continue
		}
		if err := r.set.Redactor.Redact(p); err != nil {
			withhold(p)
			r.set.Repeated.Log(slog.LevelError, "Could not redact a pair; its content is withheld", slog.String("error", err.Error()))
		}
	}
	var headBytes, compressed []byte
	var err error
	if asItCame {
		headBytes, compressed, err = frame.MakeEncoded(head, kept, *body)
	} else {
		headBytes, compressed, err = frame.Make(head, kept)
	}
	if err != nil {
		r.set.Repeated.Log(slog.LevelError, "Could not encode a batch; its pairs are dropped and counted", slog.String("error", err.Error()))
		return r.dropped(epoch, head, frame.ReasonUnencodable)
	}
	return r.record(epoch, head, headBytes, compressed), nil
}

func (r *Receiver) record(epoch registry.Epoch, head *capturev1.FrameHead, headBytes, body []byte) prepared {
	seq := head.GetBatchSeq()
	return prepared{epoch: epoch, head: head, rec: seglog.Record{
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

// commit makes batches durable, or declares durably that they were dropped.
// nil means that all of them may be acknowledged. After an error some of them
// may be durable; they are known as accepted then, and not taken again.
func (r *Receiver) commit(group []prepared) error {
	if len(group) == 0 {
		return nil
	}
	_, err := r.set.Spool.Append(records(group)...)
	if errors.Is(err, spool.ErrFull) {
		return r.commitFull(group)
	}
	if err != nil {
		return err
	}
	for _, p := range group {
		r.count(p.head, p.size)
	}
	return nil
}

// commitFull takes batches while the spool is full: those that fit are kept,
// and the others are declared, all at once. One that can't even be declared is
// not taken at all: its proxy still has it, and keeps it as long as it can.
func (r *Receiver) commitFull(group []prepared) error {
	var notes []prepared
	for _, p := range group {
		_, err := r.set.Spool.Append(p.rec)
		switch {
		case err == nil:
			r.count(p.head, p.size)
			continue
		case !errors.Is(err, spool.ErrFull):
			return err
		}
		n, err := r.note(p)
		if err != nil {
			return err
		}
		notes = append(notes, n)
	}
	return r.declare(notes)
}

// declare makes notes durable, as many as there is room for.
func (r *Receiver) declare(notes []prepared) error {
	n := len(notes)
	if n == 0 {
		return nil
	}
	_, err := r.set.Spool.AppendNotes(records(notes)...)
	if errors.Is(err, spool.ErrFull) && n > 1 {
		if err := r.declare(notes[:n/2]); err != nil {
			return err
		}
		return r.declare(notes[n/2:])
	}
	if err != nil {
		return err
	}
	r.set.Repeated.Log(slog.LevelWarn, "The spool is full; new pairs are dropped and counted", slog.String("reason", frame.ReasonSpoolFull))
	for _, note := range notes {
		r.count(note.head, note.size)
	}
	return nil
}

func records(group []prepared) []seglog.Record {
	records := make([]seglog.Record, len(group))
	for i, p := range group {
		records[i] = p.rec
	}
	return records
}

// note is what declares that a batch was dropped for a full spool.
func (r *Receiver) note(p prepared) (prepared, error) {
	head := proto.CloneOf(p.head)
	if n := head.GetPairs(); n > 0 {
		if head.Dropped == nil {
			head.Dropped = map[string]uint32{}
		}
		head.Dropped[frame.ReasonSpoolFull] += n
	}
	headBytes, _, err := frame.Make(head, nil)
	if err != nil {
		return prepared{}, fmt.Errorf("encode declaration of batch %d: %w", head.GetBatchSeq(), err)
	}
	n := r.record(p.epoch, head, headBytes, nil)
	n.size = p.size
	return n, nil
}

// count adds what a durable head says to the totals. size is the batch's, in
// bytes.
func (r *Receiver) count(h *capturev1.FrameHead, size int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.totals.Pairs += uint64(h.GetPairs())
	r.totals.Bytes += uint64(size)
	for rule, n := range h.GetFiltered() {
		r.totals.Filtered[rule] += uint64(n)
	}
	for reason, n := range h.GetDropped() {
		r.totals.Dropped[reason] += uint64(n)
	}
}
