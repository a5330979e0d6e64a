package protocoltest

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"github.com/weir-capture/weir/protocol"
)

// play gives steps to p and returns its reports as text, after checking what
// holds for every decoder.
func play(tb testing.TB, p protocol.Protocol, steps []Step) string {
	tb.Helper()
	var out strings.Builder
	playDetection(&out, p, steps)
	if p.New == nil {
		return out.String()
	}
	r := &Recorder{TB: tb}
	d := protocol.Drive(p.New, r)
	var ended [2]bool
	var err error
	var total int
	for _, s := range steps {
		if err = r.give(d, s); err != nil {
			break
		}
		total += len(s.Data)
		if h := d.Held(); h < 0 || h > min(total, protocol.MaxHeld) {
			tb.Errorf("%d bytes are held of %d", h, total)
		}
		ended[s.Dir] = ended[s.Dir] || s.End
	}
	if err != nil || ended[0] && ended[1] {
		for dir, open := range r.open {
			if open {
				tb.Errorf("a message of %v was begun and never ended", protocol.Direction(dir))
			}
		}
	}
	// A decoder that reports more than it was given runs away.
	if r.calls > 3*total+2*len(steps)+16 {
		tb.Errorf("%d reports about %d bytes", r.calls, total)
	}
	out.WriteString(r.String())
	if err != nil {
		fmt.Fprintf(&out, "error: %v\n", err)
	}
	return out.String()
}

// playDetection writes what p says about the first bytes, at the moment when
// it says anything.
func playDetection(out *strings.Builder, p protocol.Protocol, steps []Step) {
	var prefix [2][]byte
	verdict := protocol.NeedMore
	for _, s := range steps {
		room := protocol.MaxPrefix - len(prefix[s.Dir])
		prefix[s.Dir] = append(prefix[s.Dir], s.Data[:min(room, len(s.Data))]...)
		if s.Gap > 0 {
			break // what follows is not the next byte
		}
		if verdict == protocol.NeedMore {
			verdict = p.Detect(prefix[0], prefix[1])
		}
	}
	fmt.Fprintf(out, "detect: %s\n", [...]string{"no match", "need more", "match"}[verdict])
	if p.Describe != nil {
		for _, a := range p.Describe(prefix[0], prefix[1]) {
			fmt.Fprintf(out, "%s: %q\n", a.Key, a.Value)
		}
	}
}

// Recorder is a Sink that writes reports down, in a form that does not depend
// on how the bytes were split, and checks that they are in order.
type Recorder struct {
	TB testing.TB

	lines  []string
	open   [2]bool
	stream [2][]byte // what was given
	said   [2]int    // how much of stream came before the last body bytes
	calls  int

	// The last report, when it is about body bytes that more may join.
	body struct {
		pending bool
		dir     protocol.Direction
		at      protocol.Time
		data    []byte
		chunk   string
	}
}

// give hands s to d in memory that is overwritten afterwards: nothing borrowed
// may be kept.
func (r *Recorder) give(d protocol.Decoder, s Step) error {
	switch {
	case s.End:
		return d.Close(s.Dir, s.At, !s.Reset)
	case s.Gap > 0:
		return d.Gap(s.Dir, s.At, s.Gap)
	case len(s.Data) == 0:
		return nil
	}
	r.stream[s.Dir] = append(r.stream[s.Dir], s.Data...)
	lent := bytes.Clone(s.Data)
	err := d.Data(s.Dir, s.At, lent)
	for i := range lent {
		lent[i] = '~'
	}
	return err
}

// Begin implements protocol.Sink.
func (r *Recorder) Begin(b protocol.Begin) {
	r.calls++
	r.flush()
	if r.open[b.Dir] {
		r.TB.Errorf("%v: a message begins inside another", b.Dir)
	}
	r.open[b.Dir] = b.Kind != protocol.Interim
	if b.First > b.At {
		r.TB.Errorf("%v: a head is complete before it begins", b.Dir)
	}
	if len(b.Head) > 0 && !bytes.Contains(r.stream[b.Dir], b.Head) {
		r.TB.Errorf("%v: the head %q never passed", b.Dir, b.Head)
	}
	when := time.Duration(b.At).String()
	if b.First != b.At {
		when = time.Duration(b.First).String() + ".." + when
	}
	kind := [...]string{"request", "response", "interim"}[b.Kind]
	if b.Kind == protocol.Request {
		r.line(b.Dir, "%s %s method=%q host=%q path=%q query=%q", kind, when, b.Method, b.Host, b.Path, b.Query)
	} else {
		r.line(b.Dir, "%s %s status=%d", kind, when, b.Status)
	}
	if b.Key != 0 {
		r.line(b.Dir, "  key=%d", b.Key)
	}
	if b.NoResponse {
		r.line(b.Dir, "  no response")
	}
	for line := range bytes.Lines(b.Head) {
		r.line(b.Dir, "  %s", brief(line))
	}
}

// Body implements protocol.Sink.
func (r *Recorder) Body(b protocol.Body) {
	r.calls++
	if !r.open[b.Dir] {
		r.TB.Errorf("%v: body bytes outside a message", b.Dir)
	}
	if b.Missing > 0 && len(b.Data) > 0 {
		r.TB.Errorf("%v: body bytes both seen and missing", b.Dir)
	}
	at := bytes.Index(r.stream[b.Dir][r.said[b.Dir]:], b.Data)
	if at < 0 {
		r.TB.Errorf("%v: body bytes %q never passed", b.Dir, b.Data)
	} else {
		r.said[b.Dir] += at + len(b.Data)
	}
	p := &r.body
	if !p.pending || p.dir != b.Dir || p.at != b.At || b.Chunk != nil || b.Missing > 0 {
		r.flush()
		p.pending, p.dir, p.at, p.data, p.chunk = true, b.Dir, b.At, nil, ""
	}
	if b.Chunk != nil {
		p.chunk = fmt.Sprintf(" chunk=%d", b.Chunk.Size)
		if b.Chunk.Line != nil {
			p.chunk += fmt.Sprintf(" line=%q", b.Chunk.Line)
		}
	}
	p.data = append(p.data, b.Data...)
	if b.Missing > 0 {
		r.body.pending = false
		r.line(b.Dir, "missing %v %d", time.Duration(b.At), b.Missing)
	}
}

// End implements protocol.Sink.
func (r *Recorder) End(e protocol.End) {
	r.calls++
	r.flush()
	if !r.open[e.Dir] {
		r.TB.Errorf("%v: an end outside a message", e.Dir)
	}
	r.open[e.Dir] = false
	text := fmt.Sprintf("end %v wire=%d", time.Duration(e.At), e.Wire)
	if e.Trailers != nil {
		text += fmt.Sprintf(" trailers=%q", e.Trailers)
	}
	if e.Incomplete {
		text += " incomplete"
	}
	r.line(e.Dir, "%s", text)
}

// String returns what was reported so far.
func (r *Recorder) String() string {
	r.flush()
	return strings.Join(r.lines, "")
}

func (r *Recorder) flush() {
	if p := &r.body; p.pending {
		p.pending = false
		r.line(p.dir, "body %v%s %s", time.Duration(p.at), p.chunk, brief(p.data))
	}
}

func (r *Recorder) line(dir protocol.Direction, format string, args ...any) {
	r.lines = append(r.lines, ">< "[dir:dir+1]+" "+fmt.Sprintf(format, args...)+"\n")
}

// brief quotes b, or what is needed to know it again.
func brief(b []byte) string {
	if len(b) <= 200 {
		return fmt.Sprintf("%q", b)
	}
	return fmt.Sprintf("%q... %d bytes, crc32 %08x", b[:40], len(b), crc32.ChecksumIEEE(b))
}
