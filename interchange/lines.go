package interchange

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/zeebo/xxh3"
	"google.golang.org/protobuf/proto"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/httphead"
	"github.com/weir-capture/weir/query"
)

// readLines reads one JSON object a line. Empty lines are none.
func readLines(r io.Reader, l Limits, parse func([]byte) (*capturev1.RRPair, error)) iter.Seq2[*capturev1.RRPair, error] {
	return func(yield func(*capturev1.RRPair, error) bool) {
		in := bufio.NewReaderSize(r, 64<<10)
		var buf []byte
		var entry int64
		for line := int64(1); ; line++ {
			var err error
			buf, err = readLine(in, buf[:0], l.EntryBytes)
			if tooLong := errors.Is(err, errTooLong); err != nil && !tooLong {
				if !errors.Is(err, io.EOF) {
					yield(nil, fmt.Errorf("read pairs: %w", err))
				}
				return
			} else if text := bytes.TrimSpace(buf); tooLong || len(text) > 0 {
				entry++
				p, wrong := parseEntry(text, tooLong, entry, l, parse)
				if wrong != nil {
					wrong.Line = line
					if !yield(nil, wrong) {
						return
					}
				} else if !yield(p, nil) {
					return
				}
			}
		}
	}
}

var errTooLong = errors.New("line is too long")

// readLine appends a line without its end to buf. Of one that is longer than
// most it reads everything and keeps nothing.
func readLine(in *bufio.Reader, buf []byte, most int) ([]byte, error) {
	long, began := false, false
	for {
		part, err := in.ReadSlice('\n')
		began = began || len(part) > 0
		if long = long || len(buf)+len(part) > most; long {
			buf = nil
		} else {
			buf = append(buf, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && began:
		case err != nil:
			return nil, err
		}
		if long {
			return nil, errTooLong
		}
		return buf, nil
	}
}

// parseEntry holds one entry to the limits, and gives its pair what it lacks.
func parseEntry(text []byte, tooLong bool, entry int64, l Limits, parse func([]byte) (*capturev1.RRPair, error)) (*capturev1.RRPair, *EntryError) {
	wrong := &EntryError{Entry: entry}
	if tooLong {
		wrong.Message, wrong.Want = "it is too long", fmt.Sprintf("at most %d bytes", l.EntryBytes)
		return nil, wrong
	}
	if n := countValues(text); n > l.Values {
		wrong.Message, wrong.Want = fmt.Sprintf("it consists of %d JSON values", n), fmt.Sprintf("at most %d", l.Values)
		return nil, wrong
	}
	p, err := parse(text)
	if err == nil {
		err = check(p)
	}
	if err != nil {
		wrong.Message, wrong.Want = explain(err)
		wrong.Message = short(wrong.Message)
		return nil, wrong
	}
	if len(p.GetId()) == 0 {
		p.Id = makeID(p, entry)
	}
	return p, nil
}

// wantError is an error that knows what would be right.
type wantError struct{ message, want string }

func (e *wantError) Error() string { return e.message + "; want " + e.want }

// explain says a mistake in the words of the file.
func explain(err error) (message, want string) {
	if e, ok := errors.AsType[*wantError](err); ok {
		return e.message, e.want
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf("it is not JSON: %s, at byte %d of it", e.Error(), e.Offset), "one JSON object"
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if e.Field == "" {
			return "it is a JSON " + e.Value, "a JSON object"
		}
		return fmt.Sprintf("%s is a JSON %s", strings.TrimPrefix(e.Field, "About."), e.Value), "a " + kindOf(e)
	}
	return err.Error(), ""
}

// maxMessage bounds what is said of an entry, in bytes: encoding/json repeats
// numbers whole, however long they are.
const maxMessage = 512

func short(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	return strings.ToValidUTF8(message[:maxMessage], "") + "…"
}

// kindOf is what a member should have been, in JSON's words.
func kindOf(e *json.UnmarshalTypeError) string {
	switch k := e.Type.Kind().String(); k {
	case "struct", "map", "ptr":
		return "JSON object"
	case "slice", "array":
		return "JSON array"
	case "bool":
		return "JSON boolean"
	case "string":
		return "JSON string"
	default:
		return "JSON number (" + e.Type.Kind().String() + ")"
	}
}

// countValues is at least the number of values in a JSON text: what a hostile
// one may cost goes by them, not by its length.
func countValues(text []byte) int {
	n, quoted := 1, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ',' || c == '{' || c == '['):
			n++
		}
	}
	return n
}

// check holds a pair that was read to what the rest of the program relies on.
func check(p *capturev1.RRPair) error {
	if n := len(p.GetId()); n != 0 && n != 16 {
		return &wantError{fmt.Sprintf("the id has %d bytes", n), "16"}
	}
	if len(p.GetTags()) > maxTags {
		return &wantError{fmt.Sprintf("it has %d tags", len(p.GetTags())), fmt.Sprintf("at most %d", maxTags)}
	}
	for k, v := range p.GetTags() {
		if len(k) > maxTag || len(v) > maxTag {
			return &wantError{"the tag " + shown(k) + " is too long", fmt.Sprintf("at most %d bytes in name and value", maxTag)}
		}
	}
	if e := p.GetSource().GetEpoch(); len(e) != 0 && len(e) != 16 {
		return &wantError{fmt.Sprintf("the epoch has %d bytes", len(e)), "16"}
	}
	for _, m := range []*capturev1.Message{p.GetRequest(), p.GetResponse()} {
		switch {
		case len(m.GetHead()) > maxHead:
			return &wantError{fmt.Sprintf("a header block has %d bytes", len(m.GetHead())), fmt.Sprintf("at most %d", maxHead)}
		case uint64(len(m.GetBody())) > m.GetBodySize() && !m.GetBodyDecoded() && !slices.Contains(p.GetFlags(), capturev1.Flag_FLAG_REDACTED):
			// A token may be longer than what it stands for.
			return &wantError{fmt.Sprintf("a body has %d bytes and a body_size of %d", len(m.GetBody()), m.GetBodySize()), "a size that is not less"}
		case len(m.GetBodyHash()) != 0 && len(m.GetBodyHash()) != 16:
			return &wantError{fmt.Sprintf("a body's hash has %d bytes", len(m.GetBodyHash())), "16"}
		}
	}
	// Times before 1970 would sort before what did not happen.
	t := p.GetTiming()
	for _, at := range []int64{t.GetAccepted(), t.GetConnected(), t.GetRequestFirst(), t.GetRequestLast(), t.GetResponseFirst(), t.GetResponseLast()} {
		if at < 0 {
			return &wantError{"a time is before 1970", "one that is not"}
		}
		// Ranges end before their last moment; behind this one there is none.
		if at == math.MaxInt64 {
			return &wantError{"a time is the last that nanoseconds in 64 bits have", "one before it"}
		}
	}
	return nil
}

// Limits of a pair; the first two are those of RRPair.tags.
const (
	maxTags = 32
	maxTag  = 256
	maxHead = 1 << 20
)

var deterministic = proto.MarshalOptions{Deterministic: true}

// makeID is a UUIDv7 for a pair that came without an id: of the moment of its
// request, and of a hash of the pair and its place in the file.
func makeID(p *capturev1.RRPair, entry int64) []byte {
	b, err := deterministic.Marshal(p)
	if err != nil {
		b = nil // text that is not UTF-8 cannot come out of JSON
	}
	sum := xxh3.Hash128(binary.BigEndian.AppendUint64(b, uint64(entry))).Bytes()
	id := sum[:]
	ms := uint64(max(p.GetTiming().GetRequestFirst(), 0)) / 1e6
	id[0], id[1], id[2], id[3], id[4], id[5] = byte(ms>>40), byte(ms>>32), byte(ms>>24), byte(ms>>16), byte(ms>>8), byte(ms)
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id
}

// ID is a pair's id as it is written.
func ID(p *capturev1.RRPair) string { return query.FormatID(p.GetId()) }

// textual reports whether bytes are fit for a JSON string: UTF-8, and not so
// full of control characters that base64 would be shorter.
func textual(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	controls := 0
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' {
			controls++
		}
	}
	return controls <= len(b)/16
}

// requestLine splits a request's start line, where it has three words.
func requestLine(head []byte) (method, target, version string, ok bool) {
	line, _ := httphead.StartLine(head)
	words := bytes.Split(line, []byte{' '})
	if len(words) != 3 || len(words[0]) == 0 || len(words[1]) == 0 || bytes.IndexByte(line, 0) >= 0 {
		return "", "", "", false
	}
	return string(words[0]), string(words[1]), string(words[2]), true
}
