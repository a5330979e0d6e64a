package redact

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/bodycodec"
	"github.com/weir-capture/weir/internal/httphead"
)

// errUnknown: no rule can look into the body.
var errUnknown = errors.New("no rule can look into its type")

// message redacts one message. An error says why its body was withheld.
func (w *work) message(m *capturev1.Message) error {
	if w.pair.GetProtocol() != "http" {
		// What nobody decodes nobody can redact.
		if len(m.GetHead()) > 0 || len(m.GetBody()) > 0 {
			w.withholdBody(m, ReasonOpaque)
		}
		m.Head, m.Trailers, m.Interim, m.Chunks = nil, nil, nil, nil
		return nil
	}
	contentType, codings := about(m.GetHead())
	decoded := m.GetBodyDecoded() // by an earlier look
	if decoded {
		codings = nil
	}
	if w.head(m); w.failed != nil {
		// Fields may be as they were, and so may what else has them.
		w.withholdPair(ReasonBudget, true)
		return fmt.Errorf("pair withheld: %w", w.failed)
	}
	err := w.body(m, contentType, codings)
	m.BodyDecoded = m.GetBodyDecoded() || decoded && len(m.GetBody()) > 0
	if err == nil && w.failed != nil {
		err = w.failed
	}
	if w.stop {
		w.stop = false
		w.withholdBody(m, ReasonRule)
	}
	if err == nil {
		return nil
	}
	reason := ReasonMalformed
	if unknown := (*bodycodec.UnknownCodingError)(nil); errors.As(err, &unknown) {
		reason = ReasonCoding
	}
	switch {
	case errors.Is(err, errUnknown):
		reason = ReasonUnknown
	case errors.Is(err, errBudget), errors.Is(err, bodycodec.ErrLimit):
		reason = ReasonBudget
	case errors.Is(err, bodycodec.ErrMalformed), errors.Is(err, bodycodec.ErrTruncated):
		reason = ReasonCoding
	}
	w.withholdBody(m, reason)
	if reason == ReasonUnknown {
		return nil // that is what the rule set asks for
	}
	w.reduce(m)
	return fmt.Errorf("body withheld: %w", err)
}

// about reads off a header block what its body is. The type borrows from the
// block.
func about(head []byte) (contentType []byte, codings []string) {
	_, section := httphead.StartLine(head)
	for f, rest, ok := httphead.Next(section); ok; f, rest, ok = httphead.Next(rest) {
		switch {
		case contentType == nil && f.Is("Content-Type"):
			contentType = f.Value
		case f.Is("Content-Encoding"):
			codings = append(codings, bodycodec.Codings(string(f.Value))...)
		}
	}
	return contentType, codings
}

// withholdBody takes a message's body away. What is left says how long it was,
// but not its hash: that of a short text is as good as the text.
func (w *work) withholdBody(m *capturev1.Message, reason string) {
	if len(m.GetBody()) == 0 && m.GetBodySize() == 0 {
		return
	}
	m.Body, m.BodyHash, m.Chunks, m.BodyDecoded = nil, nil, nil, false
	m.Truncated = m.GetBodySize() > 0
	w.withheld = true
	changed := w.changed
	w.receipt(ruleWithheld, w.side+".body", reason)
	w.changed = changed
}

// reduce leaves of a header block the start line's method or status and the
// fields that are known to hold no secrets.
func (w *work) reduce(m *capturev1.Message) {
	m.Head = w.reduced(m.GetHead())
	m.Trailers, m.Interim = nil, nil
	w.withheld = true
}

func (w *work) reduced(head []byte) []byte {
	if len(head) == 0 {
		return head
	}
	line, section := httphead.StartLine(head)
	out := make([]byte, 0, len(head))
	if bytes.HasPrefix(line, []byte("HTTP/")) {
		out = append(out, line[:min(len(line), len("HTTP/1.1 200"))]...)
	} else if parts := bytes.Fields(line); len(parts) > 1 {
		target, _, _ := bytes.Cut(parts[1], []byte("?"))
		out = append(append(append(out, parts[0]...), ' '), target...)
		if len(parts) > 2 {
			out = append(append(out, ' '), parts[len(parts)-1]...)
		}
	}
	out = append(out, "\r\n"...)
	for f := range httphead.Section(section) {
		if w.set.keepFields[strings.ToLower(string(f.Name))] {
			out = append(append(append(append(out, f.Name...), ": "...), f.Value...), "\r\n"...)
		}
	}
	return append(out, "\r\n"...)
}

// withholdPair takes all content away: method, path and the fields that are
// known to hold no secrets stay, or with all nothing at all: where nobody knows
// how far the look had come.
func (w *work) withholdPair(reason string, all bool) {
	p := w.pair
	side := w.side
	for _, m := range [...]struct {
		side string
		*capturev1.Message
	}{{"request", p.GetRequest()}, {"response", p.GetResponse()}} {
		if m.Message == nil {
			continue
		}
		w.side = m.side
		w.withholdBody(m.Message, reason)
		w.reduce(m.Message)
	}
	w.side = side
	p.Query, p.Tags = "", nil
	if all {
		p.Path, p.Host, p.Error = "", "", ""
		for _, m := range [...]*capturev1.Message{p.GetRequest(), p.GetResponse()} {
			if m != nil {
				m.Head = nil
			}
		}
	}
	w.withheld = true
}

// body redacts a message's body.
func (w *work) body(m *capturev1.Message, contentType []byte, codings []string) error {
	body := m.GetBody()
	if len(body) == 0 {
		return nil
	}
	for _, i := range w.set.body {
		if w.applies(i, inBody) && w.set.rules[i].detect == nil {
			r := w.set.rules[i]
			switch {
			case r.shadow:
				w.shadow(r, w.side+".body")
			case r.act == actWithhold:
				w.stop = true
				return nil
			default:
				w.receipt(r.name, w.side+".body", r.kind)
				w.setBody(m, w.replace(nil, r, body), len(codings) > 0)
				return nil
			}
		}
	}
	plain, cut := body, m.GetTruncated() || slices.Contains(w.pair.GetFlags(), capturev1.Flag_FLAG_INCOMPLETE) || slices.Contains(w.pair.GetFlags(), capturev1.Flag_FLAG_GAP)
	if len(codings) > 0 {
		var err error
		limit := int64(maxDecoded)
		if slices.Contains(codings, "br") || slices.Contains(codings, "zstd") {
			limit = maxWindowed
		}
		plain, err = bodycodec.DecodeWithin(codings, body, limit, maxRatio, maxWindow)
		switch {
		case errors.Is(err, bodycodec.ErrTruncated) && cut:
		case err != nil:
			if w.keepUnread(mediaType(contentType), body) {
				return nil
			}
			return err
		}
	}
	noted := w.noted
	out, changed, err := w.document(plain, contentType, cut, 0)
	if err != nil && (!cut || !errors.Is(err, errCut)) {
		return err
	}
	if changed {
		hash, chunks := m.GetBodyHash(), m.GetChunks()
		w.setBody(m, out, len(codings) > 0)
		if w.noted == noted && m.GetBodySize() >= uint64(len(body))+unguessable {
			// Only the end of what was kept went, and nothing was found: the
			// whole is still what it was, and too long to try for.
			m.BodyHash, m.Chunks = hash, chunks
		}
	}
	return nil
}

// unguessable is how many bytes have to be unknown of a body for its hash to
// tell nothing.
const unguessable = 512

// setBody stores a body that was changed. Its hash would tell of what it was.
func (w *work) setBody(m *capturev1.Message, body []byte, decoded bool) {
	m.Body, m.BodyHash, m.Chunks, m.BodyDecoded = body, nil, nil, decoded
}

// document walks a body, or a part of one, in the syntax of its type.
func (w *work) document(v, contentType []byte, cut bool, depth int) ([]byte, bool, error) {
	if len(v) == 0 {
		return v, false, nil
	}
	if !w.spend(len(v)) {
		return v, false, errBudget
	}
	media := mediaType(contentType)
	kind := syntaxOf(media, v)
	if kind == unreadable {
		if w.keepUnread(media, v) {
			return v, false, nil
		}
		return v, false, errUnknown
	}
	// What has no sign of anything needs no walk; whether it is what its type
	// says does not matter then. A body that is cut is walked for its end.
	if w.set.scan.look(v) == 0 && !cut && kind != multipartBody {
		return v, false, nil
	}
	if bytes.Contains(v, []byte("variables")) {
		w.bind(v)
	}
	switch kind {
	case jsonBody:
		text, prefix := v, 0
		// Some put a line before it that no script may run.
		for _, p := range [...]string{")]}',\n", ")]}'\n", ")]}',\r\n", "for(;;);", "while(1);", "\ufeff"} {
			if bytes.HasPrefix(v, []byte(p)) {
				text, prefix = v[len(p):], len(p)
				break
			}
		}
		out, changed, err := w.json(text, where{place: inJSON}, depth, cut)
		if changed && prefix > 0 {
			out = append(slices.Clone(v[:prefix]), out...)
		} else if !changed {
			out = v
		}
		return out, changed, err
	case formBody:
		out, changed := w.form(v, inForm)
		if cut {
			// The last pair may be the beginning of anything.
			if i := bytes.LastIndexByte(out, '&'); i >= 0 {
				out, changed = out[:i], true
			} else {
				out, changed = nil, true
			}
		}
		return out, changed, w.failed
	case multipartBody:
		_, params, err := mime.ParseMediaType(string(contentType))
		if err != nil {
			return v, false, errMalformed
		}
		return w.multipart(v, params["boundary"], cut, depth)
	case xmlBody:
		return w.xml(v, cut)
	case eventsBody:
		return w.events(v, cut, depth)
	}
	if cut {
		v = v[:wholeText(v)]
	}
	out, changed := w.value(where{place: inText}, v, depth)
	return out, changed || cut, w.failed
}

// commonTypes need no text of their own.
var commonTypes = []string{"application/json", "text/html", "text/plain", "application/x-www-form-urlencoded", "application/xml", "text/xml", "text/css", "application/javascript", "text/javascript", "application/octet-stream", "image/png", "image/jpeg"}

// binaryTypes are read by no rule, whatever their bytes look like.
var binaryTypes = map[string]bool{
	"application/octet-stream": true, "application/protobuf": true, "application/x-protobuf": true, "application/msgpack": true,
	"application/x-msgpack": true, "application/vnd.msgpack": true, "application/cbor": true, "application/avro": true,
	"application/x-thrift": true, "application/bson": true, "application/zip": true, "application/pdf": true,
}

// mediaType is a Content-Type without its parameters, in lower case.
func mediaType(contentType []byte) string {
	media, _, _ := bytes.Cut(contentType, []byte(";"))
	media = bytes.TrimSpace(media)
	for _, t := range commonTypes {
		if string(media) == t {
			return t
		}
	}
	return strings.ToLower(string(media))
}

type bodySyntax int

const (
	unreadable bodySyntax = iota
	textBody
	jsonBody
	formBody
	multipartBody
	xmlBody
	eventsBody
)

// syntaxOf is how a body is read. Its type is believed where the body does not
// contradict it: an image that is text is read as text.
func syntaxOf(media string, v []byte) bodySyntax {
	switch {
	case strings.HasPrefix(media, "multipart/"):
		return multipartBody
	case media == "application/x-www-form-urlencoded":
		return formBody
	case binaryTypes[media], strings.HasPrefix(media, "application/grpc"), strings.HasPrefix(media, "application/vnd.google.protobuf"):
		// A short one may look like text, with lengths for letters.
		return unreadable
	}
	if !isText(v) {
		return unreadable
	}
	first := byte(0)
	if t := bytes.TrimLeft(v, " \t\r\n\ufeff"); len(t) > 0 {
		first = t[0]
	}
	switch {
	case media == "application/json", strings.HasSuffix(media, "+json"), media == "text/json",
		media == "application/x-ndjson", media == "application/ndjson", media == "application/jsonl", media == "application/json-seq":
		return jsonBody
	case media == "text/html", media == "application/xhtml+xml":
		return textBody // seldom well-formed
	case media == "application/xml", media == "text/xml", strings.HasSuffix(media, "+xml"):
		return xmlBody
	case media == "text/event-stream":
		return eventsBody
	case strings.HasPrefix(media, "text/"), strings.Contains(media, "javascript"), media == "application/graphql", media == "application/sql", strings.Contains(media, "yaml"):
		return textBody
	case first == '{' || first == '[':
		if jsonLike(v) {
			return jsonBody
		}
	}
	return textBody
}

// jsonLike: what follows the first bracket is what JSON has there.
func jsonLike(v []byte) bool {
	t := bytes.TrimLeft(v, " \t\r\n\ufeff")
	open := t[0]
	t = bytes.TrimLeft(t[1:], " \t\r\n")
	if len(t) == 0 {
		return true
	}
	if open == '{' {
		return t[0] == '"' || t[0] == '}'
	}
	return bytes.IndexByte([]byte(`"{[]-0123456789tfn`), t[0]) >= 0
}

// isText: it is UTF-8, but for a character that is cut at its end, or a
// single-byte encoding, without bytes that no text has.
func isText(v []byte) bool {
	for _, c := range v {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' && c != '\f' && c != '\b' && c != 0x1b && c != 0x1e {
			return false
		}
	}
	for cut := 0; cut < utf8.UTFMax && cut < len(v); cut++ {
		if utf8.Valid(v[:len(v)-cut]) {
			return true
		}
	}
	// Latin-1 and its kin: mostly ASCII.
	high := 0
	for _, c := range v {
		if c >= 0x80 {
			high++
		}
	}
	return high*4 < len(v)
}

// keepUnread reports whether a body of this type is kept though nobody can
// look into it.
func (w *work) keepUnread(media string, v []byte) bool {
	if w.set.keepUndecodable {
		return true
	}
	if isText(v) {
		return false
	}
	return slices.ContainsFunc(w.set.keepTypes, func(pattern string) bool {
		ok, _ := path.Match(pattern, media) // checked when it was read
		return ok
	})
}

// wholeText is how much of a text that is cut short stays: without the last
// token, which cannot be told any more, nor the groups of digits and capitals
// before it, which may be of one number with it.
func wholeText(v []byte) int {
	end := bytes.LastIndexAny(v, " \t\r\n,;&\"'<>") + 1
	const longest = 48 // of a number in groups
	from, digits := end, false
	for from > 0 && end-from < longest {
		c := v[from-1]
		if !digit(c) && !upper(c) && c != ' ' && c != '-' {
			break
		}
		digits = digits || digit(c)
		from--
	}
	if !digits {
		return end
	}
	for from < end && from > 0 && alnum(v[from-1]) && alnum(v[from]) {
		from++ // the end of a word
	}
	for from < end && (v[from] == ' ' || v[from] == '-') {
		from++
	}
	return from
}
