// Package interchange writes captured pairs in the formats that other
// programs read, and reads those that they write: HAR 1.2, JSON lines, curl
// commands, Parquet and RRPair JSON. docs/export.md is the page for users.
//
// Both directions stream: what is held is one pair (for Parquet one row
// group), however long the file is. What is read is hostile input: sizes,
// counts and depths have limits, nothing in it names a file or an address that
// is opened, and nothing of it is rendered.
package interchange

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// Format is a file format.
type Format string

// The formats, as the API and the command line name them.
const (
	// HAR is HTTP Archive 1.2 (http://www.softwareishard.com/blog/har-12-spec),
	// with what it has no word for in members called _weir.
	HAR Format = "har"
	// JSONL has one pair a line, with everything in it.
	JSONL Format = "jsonl"
	// Curl has one command a pair, for bash.
	Curl Format = "curl"
	// Parquet has one pair a row.
	Parquet Format = "parquet"
	// RRPair is one pair a line in the JSON that Speedscale's tools use.
	RRPair Format = "rrpair"
)

// Written and Readable are the formats that NewWriter and Read take.
var (
	Written  = []Format{HAR, JSONL, Curl, Parquet, RRPair}
	Readable = []Format{HAR, JSONL, RRPair}
)

// MediaType is what a file of the format is sent as.
func (f Format) MediaType() string {
	switch f {
	case HAR:
		return "application/json"
	case JSONL, RRPair:
		return "application/x-ndjson"
	case Curl:
		return "text/plain; charset=utf-8"
	case Parquet:
		return "application/vnd.apache.parquet"
	}
	return "application/octet-stream"
}

// Extension is the end of the name of such a file, with its dot.
func (f Format) Extension() string {
	switch f {
	case Curl:
		return ".sh"
	case RRPair:
		return ".rrpair.jsonl"
	}
	return "." + string(f)
}

// Lists is a set of formats in words: "har, jsonl or rrpair".
func Lists(formats []Format) string {
	var b strings.Builder
	for i, f := range formats {
		switch {
		case i > 0 && i == len(formats)-1:
			b.WriteString(" or ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(string(f))
	}
	return b.String()
}

// Pair is one pair on its way out, with what the store knows of it.
type Pair struct {
	*capturev1.RRPair
	// Endpoint is the template of the pair's path.
	Endpoint string
}

// ErrLeftOut: the format has no place for this pair, and the file is as if it
// had not been given. The error says why; the next pair may be written.
var ErrLeftOut = errors.New("left out")

// leftOut is an ErrLeftOut that says why.
type leftOut string

func (l leftOut) Error() string        { return string(l) }
func (l leftOut) Is(target error) bool { return target == ErrLeftOut }

// Writer writes one file. It is for one goroutine, and keeps nothing of a pair
// after Write.
type Writer interface {
	// Write adds a pair. An error that is ErrLeftOut concerns this pair alone;
	// every other one ends the file.
	Write(p Pair) error
	// Close ends the file. Without it the file is not whole. It does not close
	// what the Writer writes to.
	Close() error
}

// NewWriter begins a file. version is the program's, for formats that name
// their maker. Nothing is written before the first Write or Close.
func NewWriter(f Format, w io.Writer, version string) (Writer, error) {
	switch f {
	case HAR:
		return &harWriter{w: w, version: version}, nil
	case JSONL:
		return &jsonlWriter{w: w}, nil
	case Curl:
		return &curlWriter{w: w}, nil
	case Parquet:
		return newParquetWriter(w, version)
	case RRPair:
		return &rrpairWriter{w: w}, nil
	}
	return nil, fmt.Errorf("write pairs: there is no format %q", f)
}

// Limits bound what is read. Zero values mean the defaults that stand beside
// them.
type Limits struct {
	// EntryBytes is how long one pair may be in the file: 64 MiB.
	EntryBytes int
	// Values is how many JSON values one pair may consist of: 100,000.
	Values int
}

func (l Limits) withDefaults() Limits {
	if l.EntryBytes == 0 {
		l.EntryBytes = 64 << 20
	}
	if l.Values == 0 {
		l.Values = 100_000
	}
	return l
}

// EntryError is what is wrong with one entry of a file, or with the file from
// there on.
type EntryError struct {
	// Entry counts the pairs of the file from 1; Line is where the entry
	// begins, from 1, and 0 in formats without lines.
	Entry, Line int64
	// Message is what is wrong, Want what would be right (it may be empty).
	Message, Want string
	// Final: nothing behind it can be read.
	Final bool
}

func (e *EntryError) Error() string {
	var b strings.Builder
	if e.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", e.Line)
	} else {
		fmt.Fprintf(&b, "entry %d: ", e.Entry)
	}
	b.WriteString(e.Message)
	if e.Want != "" {
		b.WriteString("; want " + e.Want)
	}
	return b.String()
}

// Read yields the pairs of a file in their order; each is the consumer's. An
// entry that is wrong is yielded as an *EntryError, and the sequence goes on
// behind it unless that is Final. Every other error comes from r and is the
// last element.
//
// A pair without an id gets one that is made of what it says and of its place
// in the file, so that the same file gives the same ids again.
func Read(f Format, r io.Reader, l Limits) iter.Seq2[*capturev1.RRPair, error] {
	l = l.withDefaults()
	switch f {
	case HAR:
		return readHAR(r, l)
	case JSONL:
		return readLines(r, l, parseJSONL)
	case RRPair:
		return readLines(r, l, parseRRPair)
	}
	return func(yield func(*capturev1.RRPair, error) bool) {
		yield(nil, fmt.Errorf("read pairs: %q is not a format that can be read; want %s", f, Lists(Readable)))
	}
}
