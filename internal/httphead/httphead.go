// Package httphead reads header blocks in the syntax of HTTP/1.x (RFC 9112)
// and email, as they were captured. It judges nothing: whatever the block
// looks like, its lines come out, so that a viewer hides nothing and redaction
// misses nothing. It copies as little as possible.
package httphead

import (
	"bytes"
	"iter"
	"slices"
)

// Field is one header or trailer. Its slices belong to the block that it was
// read from, except a Value that was folded over several lines.
type Field struct {
	// Name is as on the wire, without space around it.
	Name []byte
	// Value has no space around it. Of a value that was folded over several
	// lines (RFC 9112, section 5.2), the lines are joined by one space. A line
	// without a colon is all Name and has a nil Value, unless it was folded.
	Value []byte
	// Raw is the whole of the field's lines with their line ends: all Raws
	// one after another are the section.
	Raw []byte
}

// Is compares the field's name, without regard to the case of ASCII letters.
func (f Field) Is(name string) bool {
	if len(f.Name) != len(name) {
		return false
	}
	for i, c := range f.Name {
		if lower(c) != lower(name[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// StartLine splits a header block into its first line, without the line end,
// and the section of fields after it. Empty lines before it are skipped (RFC
// 9112, section 2.2).
func StartLine(head []byte) (line, section []byte) {
	for len(head) > 0 {
		line, head = cutLine(head)
		if line = trimEnd(line); len(line) > 0 {
			return line, head
		}
	}
	return nil, nil
}

// Fields yields the fields of a header block, which begins with a start line.
func Fields(head []byte) iter.Seq[Field] {
	_, section := StartLine(head)
	return Section(section)
}

// Section yields the fields of a section without start line, such as trailers,
// up to its empty line or its end.
func Section(section []byte) iter.Seq[Field] {
	return func(yield func(Field) bool) {
		for {
			f, rest, ok := Next(section)
			if !ok || !yield(f) {
				return
			}
			section = rest
		}
	}
}

// Next reads the first field of a section, and gives what is behind it; false
// at the empty line and at the end. It is Section for who must not allocate.
func Next(section []byte) (f Field, rest []byte, ok bool) {
	line, after := cutLine(section)
	if len(trimEnd(line)) == 0 {
		return Field{}, nil, false
	}
	name, value, found := bytes.Cut(line, []byte(":"))
	f.Name = slices.Clip(bytes.TrimSpace(name))
	if found {
		f.Value = slices.Clip(value[:0])
		if value = bytes.TrimSpace(value); len(value) > 0 {
			f.Value = slices.Clip(value)
		}
	}
	owned := false
	for len(after) > 0 && (after[0] == ' ' || after[0] == '\t') {
		var more []byte
		more, after = cutLine(after)
		if more = bytes.TrimSpace(more); len(more) == 0 {
			continue
		}
		if !owned {
			// Appending must not write into the block.
			f.Value = slices.Clone(f.Value)
			owned = true
		}
		if len(f.Value) > 0 {
			f.Value = append(f.Value, ' ')
		}
		f.Value = append(f.Value, more...)
	}
	f.Raw = slices.Clip(section[:len(section)-len(after)])
	return f, after, true
}

// Values lists the values of the fields called name, in order.
func Values(head []byte, name string) []string {
	var values []string
	for f := range Fields(head) {
		if f.Is(name) {
			values = append(values, string(f.Value))
		}
	}
	return values
}

// cutLine splits b behind its first line feed.
func cutLine(b []byte) (line, rest []byte) {
	i := bytes.IndexByte(b, '\n') + 1
	if i == 0 {
		i = len(b)
	}
	return b[:i:i], b[i:]
}

func trimEnd(line []byte) []byte {
	n := len(line)
	for n > 0 && (line[n-1] == '\n' || line[n-1] == '\r') {
		n--
	}
	return line[:n]
}
