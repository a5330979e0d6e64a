package web

import (
	"slices"
	"strconv"
	"strings"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/httphead"
)

// How raw bytes relate to what was on the wire; header Weir-Raw.
const (
	// rawExact: byte for byte as it was.
	rawExact = "exact"
	// rawRebuilt: nothing is missing, but the framing is not known to be the
	// one that it had.
	rawRebuilt = "rebuilt"
	// rawTruncated: a part of the body was not kept.
	rawTruncated = "truncated"
	// rawChanged: a redaction rule changed the message, or its body was
	// stored decoded.
	rawChanged = "redacted"
)

// rawMessage is a message as it was on the wire, as far as it was kept, and
// what can be said of that. Interim responses come first.
func rawMessage(p *capturev1.RRPair, m *capturev1.Message) ([]byte, string) {
	var out []byte
	for _, i := range m.GetInterim() {
		out = append(out, i...)
	}
	interim := len(out)
	out = append(out, m.GetHead()...)
	exact := func() bool { return uint64(len(out)-interim) == m.GetWireSize() }

	if !chunked(m) {
		out = append(out, m.GetBody()...)
	} else {
		out = appendChunks(out, m)
		if !exact() && slices.Contains(p.GetFlags(), capturev1.Flag_FLAG_INCOMPLETE) {
			// The stream ended before the last chunk was there.
			if cut := len(out) - len(ending(m)); uint64(cut-interim) == m.GetWireSize() {
				out = out[:cut]
			}
		}
	}
	switch {
	case slices.Contains(p.GetFlags(), capturev1.Flag_FLAG_REDACTED) || m.GetBodyDecoded():
		return out, rawChanged
	case m.GetTruncated():
		return out, rawTruncated
	case exact():
		return out, rawExact
	}
	return out, rawRebuilt
}

// chunked reports whether the body was framed by the chunked coding, which
// is then the last transfer coding (RFC 9112, section 6.1).
func chunked(m *capturev1.Message) bool {
	if len(m.GetChunks()) > 0 {
		return true
	}
	codings := httphead.Values(m.GetHead(), "Transfer-Encoding")
	if len(codings) == 0 {
		return false
	}
	// An answer to HEAD, or a 304, may say chunked and have no body at all.
	if m.GetBodySize() == 0 && m.GetWireSize() == uint64(len(m.GetHead())) {
		return false
	}
	last := codings[len(codings)-1]
	if i := strings.LastIndexByte(last, ','); i >= 0 {
		last = last[i+1:]
	}
	return strings.EqualFold(strings.TrimSpace(last), "chunked")
}

// appendChunks frames what was kept of a body. Without a list of chunks it
// was one chunk with a plain size line.
func appendChunks(out []byte, m *capturev1.Message) []byte {
	body := m.GetBody()
	chunks := m.GetChunks()
	if len(chunks) == 0 && m.GetBodySize() > 0 {
		chunks = []*capturev1.Chunk{{Size: m.GetBodySize()}}
	}
	for _, c := range chunks {
		if c.GetSize() == 0 {
			continue // the last one; see ending
		}
		if len(body) == 0 {
			break // the rest was not kept
		}
		out = append(out, sizeLine(c)...)
		out = append(out, '\r', '\n')
		n := min(c.GetSize(), uint64(len(body)))
		out = append(out, body[:n]...)
		body = body[n:]
		if n < c.GetSize() {
			return out // cut within this chunk
		}
		out = append(out, '\r', '\n')
	}
	if m.GetTruncated() {
		return out
	}
	return append(out, ending(m)...)
}

// ending is the last chunk with the trailer section.
func ending(m *capturev1.Message) []byte {
	end := []byte("0")
	if cs := m.GetChunks(); len(cs) > 0 && cs[len(cs)-1].GetSize() == 0 {
		end = sizeLine(cs[len(cs)-1])
	}
	end = append(end, '\r', '\n')
	if len(m.GetTrailers()) == 0 {
		return append(end, '\r', '\n')
	}
	return append(end, m.GetTrailers()...)
}

func sizeLine(c *capturev1.Chunk) []byte {
	if len(c.GetLine()) > 0 {
		return slices.Clone(c.GetLine())
	}
	return strconv.AppendUint(nil, c.GetSize(), 16)
}
