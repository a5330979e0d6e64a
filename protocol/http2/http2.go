// Package http2 names HTTP/2 by its connection preface (RFC 9113, section
// 3.4), and finds the header fields of a connection's first request for the
// protocols that sit on it.
package http2

import (
	"github.com/weir-capture/weir/protocol"
	"golang.org/x/net/http2/hpack"
)

// Protocol is HTTP/2 over plain TCP, with prior knowledge.
var Protocol = protocol.Protocol{
	Name:   "http2",
	Title:  "HTTP/2",
	Detect: Detect,
	Advice: "Carried unread: HTTP/2 is named but not decoded yet; use HTTP/1.1 behind goproxy for now to see requests.",
}

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

const (
	frameHeader = 9 // bytes

	typeHeaders  = 1
	typeSettings = 4

	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

// Detect looks for the preface. A server may send its SETTINGS before that
// arrives.
func Detect(client, server []byte) protocol.Verdict {
	if len(client) > 0 {
		return protocol.HasMagic(client, preface)
	}
	if len(server) == 0 || mayBeSettings(server) {
		return protocol.NeedMore
	}
	return protocol.NoMatch
}

// mayBeSettings: b could be the start of a SETTINGS frame on stream 0.
func mayBeSettings(b []byte) bool {
	if len(b) < frameHeader {
		// Its length is far below 64 KiB.
		return b[0] == 0 && (len(b) < 4 || b[3] == typeSettings)
	}
	f := parseFrame(b)
	return f.kind == typeSettings && f.flags == 0 && f.stream == 0 && f.length%6 == 0 && f.length < 1<<12
}

type frame struct {
	length int
	kind   byte
	flags  byte
	stream uint32
}

func parseFrame(b []byte) frame {
	return frame{
		length: int(b[0])<<16 | int(b[1])<<8 | int(b[2]),
		kind:   b[3],
		flags:  b[4],
		stream: uint32(b[5]&0x7f)<<24 | uint32(b[6])<<16 | uint32(b[7])<<8 | uint32(b[8]),
	}
}

// FirstHeaders calls field with the header fields of the first request in
// client, the first bytes of a connection that Detect matches, until it
// returns false. It answers NeedMore when more bytes could bring more fields,
// Match when it went through all of them or was told to stop, NoMatch when
// these are no HTTP/2 frames.
func FirstHeaders(client []byte, field func(name, value string) bool) protocol.Verdict {
	if v := protocol.HasMagic(client, preface); v != protocol.Match {
		return v
	}
	b := client[len(preface):]
	for range client { // a frame takes bytes
		if len(b) < frameHeader {
			break
		}
		f := parseFrame(b)
		b = b[frameHeader:]
		if f.kind != typeHeaders {
			b = b[min(f.length, len(b)):]
			continue
		}
		whole := len(b) >= f.length
		if !whole && len(client) < protocol.MaxPrefix {
			return protocol.NeedMore
		}
		return headers(b[:min(f.length, len(b))], f.flags, whole, field)
	}
	return protocol.NeedMore
}

// headers decodes the field block in the payload of a HEADERS frame, of which
// the end may be missing.
func headers(b []byte, flags byte, whole bool, field func(name, value string) bool) protocol.Verdict {
	skip, padding := 0, 0
	if flags&flagPadded != 0 {
		if len(b) < 1 {
			return protocol.NoMatch
		}
		skip, padding = 1, int(b[0])
	}
	if flags&flagPriority != 0 {
		skip += 5
	}
	if !whole {
		padding = 0
	}
	if skip+padding > len(b) {
		return protocol.NoMatch
	}
	going := true
	decoder := hpack.NewDecoder(4096, func(f hpack.HeaderField) {
		going = going && field(f.Name, f.Value)
	})
	decoder.SetMaxStringLength(protocol.MaxPrefix)
	_, err := decoder.Write(b[skip : len(b)-padding])
	switch {
	case !going:
		return protocol.Match
	case err != nil:
		return protocol.NoMatch
	case whole && flags&flagEndHeaders != 0:
		return protocol.Match
	}
	// The rest is in CONTINUATION frames, or beyond what detection sees.
	return protocol.NeedMore
}
