package analyzer

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/seglog"
)

// begin goes by what the analyzer has: it brings the cursor there and says
// what is to be sent.
func (e *Exporter) begin(have *capturev1.ExportResponse_Have) (route, error) {
	done, err := rangesOf(have)
	if err != nil {
		return route{}, err
	}
	log := e.set.Spool.Log()
	same, err := e.knows(done, have.GetLast())
	if err != nil {
		return route{}, err
	}
	if !same {
		// The files went back, as after a restored backup, and since then the
		// spool may have taken records at offsets where the analyzer has
		// others; or the frame that it has last was made by another filter of
		// this destination, which looks the same from here. Under another id
		// all of it goes there; what the analyzer has already it knows by its
		// batches.
		e.set.Log.Warn("The analyzer has other records of this spool than are in it: its directory is an older copy, or this destination's filter was changed. It goes on under a new id",
			e.attrs(slog.Uint64("next", log.Next()), slog.Uint64("analyzer", done.top()))...)
		if err := e.set.Spool.Renew(); err != nil {
			return route{}, err
		}
		return route{}, errRenewed
	}
	for _, s := range e.tried { // it was taken without an acknowledgement
		if done.within(s.from, s.to) > 0 {
			e.tookRecord()
			break
		}
	}
	e.mu.Lock()
	e.gaveUp.forget(log.Oldest())
	for _, s := range e.gaveUp {
		done.add(s)
	}
	e.done = slices.Clone(done)
	e.mu.Unlock()
	end := log.End()
	r := route{old: have.GetApiVersion() == 0, limit: e.limit, until: e.until, braked: e.brake.on()}
	known := done
	if r.braked {
		r.limit, r.until = 1, 0
		known = e.brake.besides(done)
	}
	r.single = r.old || r.limit > 0
	switch {
	case r.old:
		r.from = done.low()
	case e.nothingBetween(known.top(), end):
		// Following begins where the analyzer's last record ends, so that no
		// hole stays between them where the log wrote something for itself.
		r.holes, r.from = known.holes(known.top()), known.top()
	default:
		r.holes, r.from = known.holes(end), end
	}
	// The cursor goes where the analyzer is, also where nothing is to be counted.
	e.took(slices.DeleteFunc(e.unsure, func(p *parcel) bool { return !done.covers(p.span) })...)
	e.unsure = nil
	return r, nil
}

// rangesOf is what the analyzer says that it has.
func rangesOf(have *capturev1.ExportResponse_Have) (spans, error) {
	var done spans
	done.add(span{0, have.GetNextOffset()})
	at := have.GetNextOffset()
	for _, r := range have.GetRanges() {
		if r.GetFrom() < at || r.GetTo() <= r.GetFrom() {
			return nil, fmt.Errorf("what it has is in no order: %d to %d after %d", r.GetFrom(), r.GetTo(), at)
		}
		at = r.GetTo()
		done.add(span{r.GetFrom(), r.GetTo()})
	}
	return done, nil
}

// nothingBetween: no record stands in [from, to), nor anything that could have
// been one.
func (e *Exporter) nothingBetween(from, to uint64) bool {
	r := e.set.Spool.Log().Reader(from)
	defer r.Close()
	entry, err := r.TryNext()
	if ce, ok := errors.AsType[*seglog.CorruptError](err); ok {
		return ce.Offset >= to
	}
	return errors.Is(err, seglog.ErrEnd) || err == nil && entry.Offset >= to
}

// knows says whether the analyzer speaks of the spool that is here: it has
// nothing that was not here yet, and the last record that it has is the one
// that stands there.
func (e *Exporter) knows(done spans, last *capturev1.ExportResponse_LastFrame) (bool, error) {
	log := e.set.Spool.Log()
	switch {
	case done.top() > log.Next():
		return false, nil
	case last == nil || last.GetOffset() < log.Oldest():
		return true, nil
	case last.GetOffset() >= log.Next():
		return false, nil
	}
	r := log.Reader(last.GetOffset())
	defer r.Close()
	entry, err := r.TryNext()
	if ce, ok := errors.AsType[*seglog.CorruptError](err); ok {
		// Damage, or the middle of a record?
		return ce.Part != "header" || e.damagedAt(last.GetOffset()), nil
	}
	if _, ok := errors.AsType[*seglog.RemovedError](err); ok {
		return true, nil
	}
	if errors.Is(err, seglog.ErrEnd) || err == nil && entry.Offset >= done.top() {
		// There is no record: there never was when nothing is said of one, or
		// it was cut with the end of the log when that was opened.
		return last.GetChecksum() == 0 || e.cutBetween(last.GetOffset(), done.top()), nil
	}
	if err != nil {
		return false, fmt.Errorf("read the record that the analyzer has last: %w", err)
	}
	return e.sentAs(entry, last.GetChecksum()), nil
}

// cutBetween says whether something of [from, to) was cut from the log: what it
// took since stands further on, and the room between stays empty for good. An
// older copy ends there or goes on without a gap.
func (e *Exporter) cutBetween(from, to uint64) bool {
	log := e.set.Spool.Log()
	next := log.Next() // first: what is appended now is no gap
	segs := log.Segments()
	for i, s := range segs {
		beyond := next
		if i+1 < len(segs) {
			beyond = segs[i+1].Base
		}
		if max(s.End, from) < min(beyond, to) {
			return true
		}
	}
	return false
}

// sentAs says whether the record can have gone to the analyzer with this
// checksum: as it is, filtered, or declared lost.
func (e *Exporter) sentAs(entry seglog.Entry, sum uint32) bool {
	if sum == frame.Checksum(nil, nil) || sum == frame.Checksum(entry.Head, entry.Body) {
		return true // the first: as a stretch of which nothing is known
	}
	if head, body, _ := e.leaveOut(entry.Head, entry.Body); sum == frame.Checksum(head, body) {
		return true
	}
	for _, reason := range []string{frame.ReasonRefused, frame.ReasonSpoolDamaged} {
		h, err := frame.Head(entry.Head)
		if err != nil {
			return false
		}
		if head, err := declare(h, reason); err == nil && sum == frame.Checksum(head, nil) {
			return true
		}
	}
	return false
}

// damagedAt says whether reading from the beginning of its segment comes to
// damage at an offset, and not to a record that begins before it.
func (e *Exporter) damagedAt(offset uint64) bool {
	log := e.set.Spool.Log()
	base := log.Oldest()
	for _, s := range log.Segments() {
		if s.Base <= offset {
			base = s.Base
		}
	}
	for entry, err := range log.Heads(base) {
		if ce, ok := errors.AsType[*seglog.CorruptError](err); ok && ce.Offset <= offset && offset < ce.Next {
			return true
		}
		if err == nil && entry.Next > offset {
			return false
		}
	}
	return true // it is not there any more
}
