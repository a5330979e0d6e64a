package http1

// knownCoding are those of RFC 9112, section 7, and of RFC 2616 before it.
func knownCoding(coding []byte) bool {
	for _, known := range [...]string{"chunked", "gzip", "x-gzip", "deflate", "compress", "x-compress", "identity"} {
		if equalFold(coding, known) {
			return true
		}
	}
	return false
}

// framing says how a body is delimited.
type framing uint8

const (
	noBody framing = iota
	byLength
	byChunks
	byClose
)

// requestFraming follows RFC 9112, section 6.3, for requests.
func (h *head) requestFraming() (framing, doubt) {
	switch {
	case h.structure.why != "":
		return noBody, h.structure
	case h.sizing.why != "":
		return noBody, h.sizing
	case h.methodDoubtful():
		return noBody, doubt{why: "a method that is HEAD or CONNECT to some servers"}
	case string(h.method) == "CONNECT" && (h.encoding || h.length > 0):
		return noBody, doubt{why: "a body on CONNECT"}
	case h.encoding:
		if d := h.encodingDoubt(); d.why != "" {
			return noBody, d
		}
		if !h.endsChunked() {
			return noBody, doubt{why: "a transfer coding that does not end with chunked on a request"}
		}
		if h.unknown {
			// Servers refuse it, or else pass over the whole field.
			return noBody, doubt{why: "an unknown transfer coding on a request"}
		}
		if h.identity {
			// RFC 2616 had it for no coding at all; RFC 9112 does not know it.
			return noBody, doubt{why: "the identity coding on a request"}
		}
		return byChunks, doubt{}
	case h.length > 0:
		return byLength, doubt{}
	}
	return noBody, doubt{}
}

// methodDoubtful: methods are case-sensitive, but some servers fold them, and
// the framing of the response depends on these two.
func (h *head) methodDoubtful() bool {
	return equalFold(h.method, "head") && string(h.method) != "HEAD" ||
		equalFold(h.method, "connect") && string(h.method) != "CONNECT"
}

// responseFraming follows RFC 9112, section 6.3, for responses. bodyless says
// that the request or the status forbids a body.
func (h *head) responseFraming(bodyless bool) (framing, doubt) {
	switch {
	case h.structure.why != "":
		return noBody, h.structure
	case bodyless:
		return noBody, doubt{}
	case h.sizing.why != "":
		return noBody, h.sizing
	case h.encoding:
		if d := h.encodingDoubt(); d.why != "" {
			return noBody, d
		}
		if h.endsChunked() {
			return byChunks, doubt{}
		}
		if containsFold(h.last, "chunked") {
			return noBody, doubt{why: "a transfer coding that is only nearly chunked"}
		}
		return byClose, doubt{}
	case h.lengths > 0:
		if h.length == 0 {
			return noBody, doubt{}
		}
		return byLength, doubt{}
	}
	return byClose, doubt{}
}

func (h *head) encodingDoubt() doubt {
	switch {
	case h.lengths > 0:
		return doubt{why: "a transfer coding and a content length"}
	case h.version.minor == 0:
		return doubt{why: "a transfer coding in HTTP/1.0"}
	case h.codings == 0:
		return doubt{why: "an empty transfer coding"}
	case h.chunked > 1:
		return doubt{why: "chunked twice"}
	}
	return doubt{}
}

func (h *head) endsChunked() bool { return h.chunked == 1 && equalFold(h.last, "chunked") }

// looksFraming says whether a reader that repairs or ignores odd bytes could
// take name for Content-Length or Transfer-Encoding. prefix: a line without a
// colon, of which the name may be only the start.
func looksFraming(name []byte, prefix bool) bool {
	return looksLike(name, "contentlength", prefix) || looksLike(name, "transferencoding", prefix)
}

func looksLike(name []byte, letters string, prefix bool) bool {
	i := 0
	for _, c := range name {
		c |= 0x20
		if c < 'a' || c > 'z' {
			continue
		}
		if i == len(letters) {
			return prefix
		}
		if c != letters[i] {
			return false
		}
		i++
	}
	return i == len(letters)
}
