// Package bodycodec undoes the content codings of captured bodies (RFC 9110,
// section 8.4): gzip, deflate, br and zstd. Bodies are whatever a stranger
// sent, so that output, the intermediate results of several codings and the
// memory of each decoder are bounded.
package bodycodec

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Errors of Decode. All come with what could be decoded before them.
var (
	// ErrLimit: there is more output than was asked for.
	ErrLimit = errors.New("decoded body is larger than the limit")
	// ErrTruncated: the body ends before its coding says so.
	ErrTruncated = errors.New("encoded body is cut short")
	// ErrMalformed: the body is not in the coding that it claims.
	ErrMalformed = errors.New("encoded body is malformed")
)

// UnknownCodingError: the body has a coding that Decode does not know, or too
// many of them.
type UnknownCodingError struct{ Coding string }

func (e *UnknownCodingError) Error() string {
	return fmt.Sprintf("unknown content coding %q", e.Coding)
}

const (
	// maxCodings is how many codings may lie on each other; real bodies have
	// one, seldom two by mistake.
	maxCodings = 4
	// ratioFloor is how much output is always allowed, whatever the ratio:
	// small repetitive answers compress very well.
	ratioFloor = 64 << 10
	// maxWindow bounds what a zstd frame may ask for (RFC 9659 recommends
	// 8 MB for HTTP). gzip and deflate need 32 KiB, br at most 16 MiB.
	maxWindow = 8 << 20
	maxBrotli = 16 << 20
)

// Codings reads the values of Content-Encoding headers: the codings in the
// order in which they were applied, in lower case, without "identity".
func Codings(values ...string) []string {
	var codings []string
	for _, v := range values {
		for c := range strings.SplitSeq(v, ",") {
			if c = strings.ToLower(strings.Trim(c, " \t")); c != "" && c != "identity" {
				codings = append(codings, c)
			}
		}
	}
	return codings
}

// Decode undoes codings, which are in the order in which they were applied. It
// gives at most limit bytes, and at most ratio times as many as body has (but
// 64 KiB in any case); a ratio of 0 or less does not count. The result is the
// caller's; without codings it is body itself, cut at limit.
//
// With an error comes what was decoded before it: nothing for an
// UnknownCodingError, a prefix for the others.
func Decode(codings []string, body []byte, limit int64, ratio int) (out []byte, err error) {
	return DecodeWithin(codings, body, limit, ratio, maxBrotli)
}

// DecodeWithin is Decode with a bound, window, on what of the output a br
// decoder has to remember: it holds all of what a stream asks for. The other
// decoders hold no more than they give.
func DecodeWithin(codings []string, body []byte, limit int64, ratio, window int) (out []byte, err error) {
	codings = Codings(codings...)
	if len(codings) == 0 {
		if int64(len(body)) > limit {
			return body[:limit:limit], ErrLimit
		}
		return body, nil
	}
	if len(codings) > maxCodings {
		return nil, &UnknownCodingError{strings.Join(codings, ", ")}
	}
	if len(body) == 0 {
		// A HEAD or 304 answer, or a body that was not kept.
		return nil, nil
	}
	if ratio > 0 {
		limit = min(limit, max(ratioFloor, int64(ratio)*int64(len(body))))
	}
	// The decoders are other people's and the bytes are hostile: one pair that
	// makes a decoder panic must not take the program with it.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: decoder panicked: %v", ErrMalformed, r)
		}
	}()
	var r io.Reader = bytes.NewReader(body)
	for i := len(codings) - 1; i >= 0; i-- {
		d, err := newReader(codings[i], r, window)
		if err != nil {
			return nil, err
		}
		if c, ok := d.(io.Closer); ok {
			defer c.Close()
		}
		r = &boundedReader{r: d, left: limit}
	}
	out, err = readAll(r, limit, len(body))
	return out, classify(err)
}

// readAll reads what r gives, at most limit bytes, into a buffer that never
// has room for more.
func readAll(r io.Reader, limit int64, body int) ([]byte, error) {
	b := make([]byte, 0, min(limit, int64(max(512, 4*body))))
	for {
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return b, err
		}
		if len(b) < cap(b) {
			continue
		}
		if int64(len(b)) == limit {
			// What bounds it says whether there is more.
			var one [1]byte
			switch n, err := r.Read(one[:]); {
			case err == io.EOF:
				return b, nil
			case err != nil:
				return b, err
			case n > 0:
				return b, ErrLimit
			}
			continue
		}
		next := make([]byte, len(b), min(limit, 2*int64(len(b))))
		copy(next, b)
		b = next
	}
}

// classify turns the many errors of decoders into ours.
func classify(err error) error {
	switch {
	case err == nil, errors.Is(err, ErrLimit):
		return err
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return fmt.Errorf("%w: %w", ErrLimit, err)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return ErrTruncated
	}
	return fmt.Errorf("%w: %w", ErrMalformed, err)
}

// newReader makes the decoder of one coding.
func newReader(coding string, r io.Reader, window int) (io.Reader, error) {
	switch coding {
	case "gzip", "x-gzip":
		return &lazyReader{open: func() (io.Reader, error) { return gzip.NewReader(r) }}, nil
	case "deflate":
		return &lazyReader{open: func() (io.Reader, error) { return newDeflate(r) }}, nil
	case "br":
		return &lazyReader{open: func() (io.Reader, error) { return newBrotli(r, window) }}, nil
	case "zstd":
		d, err := zstd.NewReader(r,
			zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(maxWindow),
			zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		return d.IOReadCloser(), nil
	}
	return nil, &UnknownCodingError{coding}
}

// newBrotli reads the window's size off the beginning of a stream (RFC 7932,
// section 9.1), and refuses one that is too large.
func newBrotli(r io.Reader, window int) (io.Reader, error) {
	b := bufio.NewReader(r)
	h, err := b.Peek(1)
	if err != nil {
		return nil, err
	}
	bits := 16
	switch first, second := h[0]>>1&7, h[0]>>4&7; {
	case h[0]&1 == 0:
	case first > 0:
		bits = 17 + int(first)
	case second > 0:
		bits = 8 + int(second)
	default:
		bits = 17
	}
	if 1<<bits > window {
		return nil, fmt.Errorf("%w: a window of 2^%d bytes", ErrLimit, bits)
	}
	return brotli.NewReader(b), nil
}

// newDeflate reads the coding "deflate", which is the zlib format, and the raw
// format that some servers send in its place.
func newDeflate(r io.Reader) (io.Reader, error) {
	b := bufio.NewReader(r)
	h, err := b.Peek(2)
	if len(h) < 2 {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	// RFC 1950, section 2.2: method 8, and a check that is divisible by 31.
	// No raw stream that an encoder makes begins like that.
	if h[0]&0x0f == 8 && (uint(h[0])<<8|uint(h[1]))%31 == 0 {
		return zlib.NewReader(b)
	}
	return flate.NewReader(b), nil
}

// lazyReader opens its decoder at the first Read, so that an error in a
// stream's header is an error of the stream.
type lazyReader struct {
	open func() (io.Reader, error)
	r    io.Reader
	err  error
}

func (l *lazyReader) Read(b []byte) (int, error) {
	if l.r == nil && l.err == nil {
		l.r, l.err = l.open()
		if l.err == io.EOF {
			// Not even a header.
			l.err = io.ErrUnexpectedEOF
		}
	}
	if l.err != nil {
		return 0, l.err
	}
	return l.r.Read(b)
}

// boundedReader answers ErrLimit when there is more than left bytes. It also
// stands between codings, where a stream could grow without ever giving
// output.
type boundedReader struct {
	r    io.Reader
	left int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if b.left <= 0 {
		// One byte more tells "exactly the limit" from "too large".
		var one [1]byte
		n, err := b.r.Read(one[:])
		if n > 0 {
			return 0, ErrLimit
		}
		return 0, err
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	return n, err
}
