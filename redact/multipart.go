package redact

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/quotedprintable"
	"slices"
	"strings"

	"github.com/weir-capture/weir/internal/httphead"
)

// multipart walks a body of parts (RFC 2046, section 5.1; RFC 7578).
func (w *work) multipart(v []byte, boundary string, cut bool, depth int) (out []byte, changed bool, err error) {
	if boundary == "" || len(boundary) > 200 {
		return v, false, errMalformed
	}
	if !w.spend(len(v)) {
		return v, false, errBudget
	}
	mark := append([]byte("--"), boundary...)
	// What goes before the first boundary and behind the last is nobody's, but
	// it is kept: what a rule takes of it is gone with all of it.
	done := 0
	between := func(from, to int) {
		if _, ok := w.value(where{place: inText, label: "(between parts)"}, v[from:to], depth); ok {
			out = append(out, v[done:from]...)
			changed, done = true, to
		}
	}
	pos := bytes.Index(v, mark)
	if pos < 0 {
		if cut && len(v) < len(mark) {
			return nil, true, errCut
		}
		return v, false, errMalformed
	}
	between(0, pos)
	for {
		pos += len(mark)
		if bytes.HasPrefix(v[pos:], []byte("--")) {
			between(pos+2, len(v))
			if !changed {
				return v, false, nil
			}
			return append(out, v[done:]...), true, nil
		}
		i := bytes.IndexByte(v[pos:], '\n')
		if i < 0 {
			break
		}
		from := pos + i + 1
		between(pos, from-1)
		next := bytes.Index(v[from:], append([]byte("\n"), mark...))
		if next < 0 {
			break
		}
		end := from + next // the line feed before the boundary
		if end > from && v[end-1] == '\r' {
			end--
		}
		part, ok, err := w.part(v[from:end], depth)
		if err != nil {
			return v, false, err
		}
		if ok {
			out = append(append(out, v[done:from]...), part...)
			changed, done = true, end
		}
		pos = from + next + 1
	}
	if !cut {
		return v, false, errMalformed
	}
	// The open part goes.
	return append(out, v[done:max(done, pos-len(mark))]...), true, errCut
}

// part redacts one part of a multipart body.
func (w *work) part(v []byte, depth int) ([]byte, bool, error) {
	if depth >= maxNesting {
		return v, false, errBudget
	}
	// The head ends at the first empty line, whatever its lines end in.
	head, body := v, []byte(nil)
	for pos := 0; pos < len(v); {
		i := bytes.IndexByte(v[pos:], '\n')
		if i < 0 {
			break
		}
		empty := len(bytes.TrimRight(v[pos:pos+i], "\r")) == 0
		if pos += i + 1; empty {
			head, body = v[:pos], v[pos:]
			break
		}
	}
	var name, contentType []byte
	// unsure: another reader may see another name or other bytes.
	file, named, unsure := false, false, false
	var transfer transferEncoding
	for f := range httphead.Section(head) {
		switch {
		case f.Is("Content-Disposition"):
			_, params, err := mime.ParseMediaType(string(f.Value))
			unsure = unsure || named || err != nil
			named, name = true, []byte(params["name"])
			_, file = params["filename"]
		case f.Is("Content-Type"):
			contentType = f.Value
		case f.Is("Content-Transfer-Encoding"):
			var ok bool
			transfer, ok = transferEncodings[strings.ToLower(string(f.Value))]
			unsure = unsure || !ok
		}
	}
	stored := body
	if transfer.decode != nil {
		var err error
		if body, err = transfer.decode(stored); err != nil || !w.spend(len(stored)) {
			unsure, body = true, stored
		}
	}
	newHead, headChanged := w.inside(where{place: inMultipart, label: "(part head)"}, head, ruleSet{}, 0)
	var out []byte
	changed := false
	at := where{place: inMultipart, name: name}
	matched, whole := w.named(at)
	switch {
	case len(body) == 0:
		out = body
	case whole >= 0:
		out, changed = w.whole(whole, at, body)
	case contentType == nil && !file && !unsure && isText(body):
		out, changed = w.valueIn(at, body, matched, depth)
	default:
		err := errUnknown
		if !unsure {
			out, changed, err = w.document(body, contentType, false, depth+1)
		}
		if errors.Is(err, errBudget) {
			return v, false, err
		}
		if err != nil {
			// This part goes, the others may stay.
			before := w.changed
			w.receipt(ruleWithheld, w.location(at), ReasonUnknown)
			w.changed = before
			w.withheld = true
			out, changed = nil, true
		}
	}
	switch {
	case !headChanged && !changed:
		return v, false, w.failed
	case !changed:
		out = stored
	case transfer.encode != nil:
		out = transfer.encode(out)
	}
	return append(slices.Clone(newHead), out...), true, w.failed
}

// transferEncoding is how the bytes of a part are written (RFC 2045, section
// 6); nothing of it is set where they stand as they are.
type transferEncoding struct {
	decode func([]byte) ([]byte, error)
	encode func([]byte) []byte
}

var transferEncodings = map[string]transferEncoding{
	"7bit": {}, "8bit": {}, "binary": {},
	"base64":           {fromBase64, toBase64},
	"quoted-printable": {fromQuotedPrintable, toQuotedPrintable},
}

// fromBase64 passes over line ends only: what another reader passes over as
// well, or not, is not known.
func fromBase64(v []byte) ([]byte, error) { return base64.StdEncoding.AppendDecode(nil, v) }

func toBase64(v []byte) []byte {
	const line = 76
	text := base64.StdEncoding.AppendEncode(nil, v)
	var out []byte
	for len(text) > line {
		out = append(append(out, text[:line]...), "\r\n"...)
		text = text[line:]
	}
	return append(out, text...)
}

func fromQuotedPrintable(v []byte) ([]byte, error) {
	return io.ReadAll(quotedprintable.NewReader(bytes.NewReader(v)))
}

func toQuotedPrintable(v []byte) []byte {
	var b bytes.Buffer
	w := quotedprintable.NewWriter(&b)
	_, _ = w.Write(v) // to memory
	_ = w.Close()
	return b.Bytes()
}
