package httphead_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weir-capture/weir/internal/httphead"
)

func fields(head string) []string {
	var list []string
	for f := range httphead.Fields([]byte(head)) {
		value := "(no colon)"
		if f.Value != nil {
			value = string(f.Value)
		}
		list = append(list, fmt.Sprintf("%s=%s", f.Name, value))
	}
	return list
}

func TestFields(t *testing.T) {
	for _, test := range []struct {
		name, head string
		want       []string
	}{
		{"empty", "", nil},
		{"only a start line", "GET / HTTP/1.1\r\n\r\n", nil},
		{"plain", "GET / HTTP/1.1\r\nHost: a\r\nX-B:  two words \t\r\n\r\n", []string{"Host=a", "X-B=two words"}},
		{"order, case and duplicates", "s\r\nb: 1\r\nA: 2\r\nB: 3\r\n\r\n", []string{"b=1", "A=2", "B=3"}},
		{"bare line feeds", "s\na: 1\nb: 2\n\n", []string{"a=1", "b=2"}},
		{"no end", "s\r\na: 1\r\nb: 2", []string{"a=1", "b=2"}},
		{"cut within a name", "s\r\na: 1\r\nLong-Na", []string{"a=1", "Long-Na=(no colon)"}},
		{"empty value", "s\r\na:\r\nb: \r\n\r\n", []string{"a=", "b="}},
		{"space around a name", "s\r\na : 1\r\n\r\n", []string{"a=1"}},
		{"colons in a value", "s\r\na: b: c\r\n\r\n", []string{"a=b: c"}},
		{"empty name", "s\r\n: 1\r\n\r\n", []string{"=1"}},
		{"folded", "s\r\na: one\r\n two\r\n\t three\r\nb: 4\r\n\r\n", []string{"a=one two three", "b=4"}},
		{"folded after an empty value", "s\r\na:\r\n one\r\n\r\n", []string{"a=one"}},
		{"folded with a blank line", "s\r\na: one\r\n \r\n two\r\n\r\n", []string{"a=one two"}},
		{"folded before any field", "s\r\n a: 1\r\nb: 2\r\n\r\n", []string{"a=1", "b=2"}},
		{"after the empty line", "s\r\na: 1\r\n\r\nb: 2\r\n\r\n", []string{"a=1"}},
		{"empty lines first", "\r\n\n\r\ns\r\na: 1\r\n\r\n", []string{"a=1"}},
		{"not text", "s\r\n\x00\xff: \x01\xfe\r\n\r\n", []string{"\x00\xff=\x01\xfe"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := fields(test.head); !slices.Equal(got, test.want) {
				t.Errorf("%q\n got %q\nwant %q", test.head, got, test.want)
			}
		})
	}
}

func TestStartLine(t *testing.T) {
	for _, test := range []struct{ head, line, section string }{
		{"", "", ""},
		{"\r\n", "", ""},
		{"HTTP/1.1 200 OK\r\na: 1\r\n\r\n", "HTTP/1.1 200 OK", "a: 1\r\n\r\n"},
		{"\r\nGET / HTTP/1.0\n\n", "GET / HTTP/1.0", "\n"},
		{"GET /", "GET /", ""},
	} {
		line, section := httphead.StartLine([]byte(test.head))
		if string(line) != test.line || string(section) != test.section {
			t.Errorf("%q: line %q and section %q, want %q and %q", test.head, line, section, test.line, test.section)
		}
	}
}

func TestValues(t *testing.T) {
	head := []byte("s\r\nAccept: a\r\nHost: h\r\naccept: b\r\n\r\n")
	if got := httphead.Values(head, "ACCEPT"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("got %q", got)
	}
	if got := httphead.Values(head, "acce"); got != nil {
		t.Errorf("got %q", got)
	}
}

// TestStop: a loop may end early.
func TestStop(t *testing.T) {
	for f := range httphead.Fields([]byte("s\r\na: 1\r\nb: 2\r\n\r\n")) {
		if string(f.Name) != "a" {
			t.Errorf("went on to %s", f.Name)
		}
		break
	}
}

// TestBorrowed: reading changes nothing, also where a value is put together.
func TestBorrowed(t *testing.T) {
	head := []byte("s\r\na: one\r\n two\r\nb: 1\r\n\r\n")
	before := bytes.Clone(head)
	for f := range httphead.Fields(head) {
		_ = append(f.Value, "!!!!!!!!"...)
		_ = append(f.Name, "!!!!!!!!"...)
		_ = append(f.Raw, "!!!!!!!!"...)
		break
	}
	if !bytes.Equal(head, before) {
		t.Errorf("head became %q", head)
	}
}

func FuzzFields(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\nrest"))
	f.Add([]byte("\r\n\nHTTP/1.1 200\nno colon\n: \n\n"))
	f.Add([]byte("s\r\n \r\n\t\r\na:\r"))
	f.Fuzz(func(t *testing.T, head []byte) {
		before := bytes.Clone(head)
		_, section := httphead.StartLine(head)
		var raw []byte
		for f := range httphead.Fields(head) {
			if len(f.Raw) == 0 {
				t.Fatal("field without bytes")
			}
			raw = append(raw, f.Raw...)
			for line := range strings.Lines(string(f.Value)) {
				if strings.ContainsAny(line, "\n") {
					t.Fatalf("value %q has a line end", f.Value)
				}
			}
		}
		// The fields are the section, up to its empty line.
		rest, ok := bytes.CutPrefix(section, raw)
		if !ok {
			t.Fatalf("section %q begins otherwise than its fields %q", section, raw)
		}
		if line, _, _ := bytes.Cut(rest, []byte("\n")); len(bytes.TrimRight(line, "\r")) > 0 {
			t.Fatalf("stopped before %q", rest)
		}
		if !bytes.Equal(head, before) {
			t.Fatal("head changed")
		}
	})
}
