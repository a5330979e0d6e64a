package analyzer

import (
	"errors"
	"io/fs"
	"log/slog"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/forwarder/filter"
	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/seglog"
)

// missingRemoved says in a frame why nobody knows what it held: the files are
// gone.
const missingRemoved = "removed"

// parcel is one stretch of the spool on its way: a record, or what is said in
// its place. The stretch begins where the one before it ended, so that they
// leave no hole between them; the record itself may stand a little later,
// behind what the log wrote for itself.
type parcel struct {
	span
	frame *capturev1.Frame // nil: there is nothing to say
	size  int64            // what it takes of the window
	// lost counts pairs that the frame does not have and the record had, and
	// why.
	reason string
	lost   uint64
	// filtered are the pairs that this destination does not want, by rule.
	filtered map[string]uint32
	// at is where the record stands, to is its end, for quarantine.
	at, end uint64
}

// extend lets the parcel cover what follows it up to an offset, where no
// record stands.
func (p *parcel) extend(to uint64) {
	if p.to = max(p.to, to); p.frame != nil {
		p.frame.NextOffset = p.to
	}
}

// cut lets the parcel end at an offset at the latest.
func (p *parcel) cut(to uint64) {
	if p.to = min(p.to, to); p.frame != nil {
		p.frame.NextOffset = p.to
	}
}

// parcel makes what goes to the analyzer of what a reader gave behind pos. An
// error is the reader's that does not let it go on.
func (e *Exporter) parcel(pos uint64, entry seglog.Entry, err error, old bool) (*parcel, error) {
	if err != nil {
		return e.damage(pos, err, old)
	}
	p := &parcel{span: span{pos, entry.Next}, at: entry.Offset, end: entry.Next}
	head, body, stage := entry.Head, entry.Body, e.refusals(pos)
	if stage == 0 {
		head, body, p.filtered = e.leaveOut(head, body)
		if len(head)+len(body) > maxFrame { // it would not fit into a message
			e.quarantine(p.stretch())
			stage, p.filtered = 1, nil
		}
	}
	if stage > 0 {
		p.refuse(stage, entry.Head, old)
		return p, nil
	}
	p.frame = &capturev1.Frame{Offset: pos, NextOffset: p.to, Head: head, Body: body}
	if old {
		p.frame.Offset = entry.Offset
	}
	p.weigh()
	return p, nil
}

// refuse makes p say that the analyzer cannot take what head begins: first
// with the head, so that the pairs are counted there; when it does not take
// that either, without; and then not at all.
func (p *parcel) refuse(stage int, head []byte, old bool) {
	p.reason, p.lost = frame.ReasonRefused, 1
	h, err := frame.Head(head)
	if err == nil {
		p.lost = uint64(h.GetPairs())
		head, err = declare(h, frame.ReasonRefused)
	}
	switch {
	case stage == 1 && err == nil && len(head) <= maxFrame:
		p.frame = &capturev1.Frame{Offset: p.from, NextOffset: p.to, Head: head}
		p.weigh()
	case stage <= 2 && !old:
		p.say(frame.ReasonRefused)
	}
}

// stretch is the record of p as something to put into quarantine.
func (p *parcel) stretch() *seglog.CorruptError {
	return &seglog.CorruptError{Offset: p.at, Next: p.end, Part: frame.ReasonRefused}
}

// damage makes a parcel of an error of the log's that reading goes on after.
// old: the analyzer knows no declarations; what is lost is only counted.
func (e *Exporter) damage(pos uint64, err error, old bool) (*parcel, error) {
	if ce, ok := errors.AsType[*seglog.CorruptError](err); ok {
		e.quarantine(ce)
		p := &parcel{span: span{pos, ce.Next}, reason: frame.ReasonSpoolDamaged, at: ce.Offset, end: ce.Next}
		h, herr := frame.Head(ce.Head)
		// Nobody knows how many pairs an unreadable stretch held; it counts as
		// one here, so that it shows.
		p.lost = 1
		if herr == nil {
			p.lost = uint64(h.GetPairs())
		}
		stage := e.refusals(pos)
		switch head, derr := declare(h, frame.ReasonSpoolDamaged); {
		case old || stage > 1:
		case herr == nil && derr == nil && stage == 0:
			p.frame = &capturev1.Frame{Offset: pos, NextOffset: p.to, Head: head}
			p.weigh()
		default:
			p.say("damaged " + ce.Part)
		}
		return p, nil
	}
	if re, ok := errors.AsType[*seglog.RemovedError](err); ok {
		p := &parcel{span: span{pos, re.To}, at: re.From, end: re.To}
		if !old && e.refusals(pos) == 0 {
			why := missingRemoved
			if e.set.Spool.Declared(re.From, re.To) {
				why = capturev1.MissingDeclared
			}
			p.say(why)
		}
		e.set.Repeated.Log(slog.LevelInfo, "The spool does not have everything that the analyzer has not",
			slog.String("destination", e.set.Name), slog.Uint64("from", re.From), slog.Uint64("to", re.To))
		return p, nil
	}
	return nil, err
}

// say makes p a frame that holds nothing but why.
func (p *parcel) say(why string) {
	p.frame = &capturev1.Frame{Offset: p.from, NextOffset: p.to, Missing: why}
	p.weigh()
}

// weigh sets what p takes of the window: never more than a lane may have.
func (p *parcel) weigh() {
	p.size = min(int64(len(p.frame.GetHead())+len(p.frame.GetBody()))+128, laneShare)
}

// declare turns a head into one that says that the frame's pairs are lost and
// why.
func declare(h *capturev1.FrameHead, reason string) ([]byte, error) {
	if h == nil {
		return nil, errors.New("declare loss: no head")
	}
	if n := h.GetPairs(); n > 0 {
		if h.Dropped == nil {
			h.Dropped = map[string]uint32{}
		}
		h.Dropped[reason] += n
	}
	head, _, err := frame.Make(h, nil)
	return head, err
}

// leaveOut removes the pairs that this destination does not want. What it
// cannot open goes as it is: the analyzer says that it is unreadable.
func (e *Exporter) leaveOut(head, body []byte) (newHead, newBody []byte, filtered map[string]uint32) {
	if e.set.Filter == nil || len(body) == 0 {
		return head, body, nil
	}
	newHead, newBody, filtered, err := without(e.set.Filter, head, body)
	if err != nil {
		e.set.Repeated.Log(slog.LevelWarn, "Could not filter a frame; it goes whole",
			slog.String("destination", e.set.Name), slog.String("error", err.Error()))
		return head, body, nil
	}
	return newHead, newBody, filtered
}

// without makes a frame without the pairs that f matches. The same frame and
// rules always make the same bytes: the analyzer's checksum goes by them.
func without(f *filter.Filter, head, body []byte) (newHead, newBody []byte, filtered map[string]uint32, err error) {
	h, err := frame.Head(head)
	if err != nil {
		return nil, nil, nil, err
	}
	pairs, err := frame.Pairs(h, body)
	if err != nil {
		return nil, nil, nil, err
	}
	kept := pairs[:0]
	for _, p := range pairs {
		rule, ok := f.Match(p)
		if !ok {
			kept = append(kept, p)
			continue
		}
		if filtered == nil {
			filtered = map[string]uint32{}
		}
		filtered[rule]++
	}
	if filtered == nil {
		return head, body, nil, nil
	}
	if h.Filtered == nil {
		h.Filtered = map[string]uint32{}
	}
	for rule, n := range filtered {
		h.Filtered[rule] += n
	}
	newHead, newBody, err = frame.Make(h, kept)
	return newHead, newBody, filtered, err
}

// quarantine keeps the bytes of what cannot go as it is, for people to look
// at. That it cannot be kept does not stop anything.
func (e *Exporter) quarantine(ce *seglog.CorruptError) {
	log := e.set.Spool.Log()
	if ce.Segment == "" {
		for _, s := range log.Segments() {
			if s.Base <= ce.Offset && ce.Offset < s.End {
				ce.Segment = s.Name
			}
		}
	}
	if err := log.Quarantine(ce); err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.set.Repeated.Log(slog.LevelWarn, "Could not keep the bytes of a record that is lost",
			slog.String("destination", e.set.Name), slog.String("error", err.Error()))
	}
}
