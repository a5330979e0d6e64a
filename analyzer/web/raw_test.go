package web

import (
	"testing"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

func TestRawIsWhatWasOnTheWire(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
	wire := func(s string) uint64 { return uint64(len(s)) }
	for _, c := range []struct {
		name  string
		m     *capturev1.Message
		flags []capturev1.Flag
		want  string
		state string
	}{
		{
			"length", &capturev1.Message{Head: []byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"), Body: []byte("ab"), BodySize: 2, WireSize: 40}, nil,
			"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", rawExact,
		},
		{
			"one chunk", &capturev1.Message{Head: []byte(head), Body: []byte("0123456789abcdef"), BodySize: 16, WireSize: wire(head + "10\r\n0123456789abcdef\r\n0\r\n\r\n")}, nil,
			head + "10\r\n0123456789abcdef\r\n0\r\n\r\n", rawExact,
		},
		{
			"chunks, extensions, trailers", &capturev1.Message{
				Head: []byte(head), Body: []byte("abcde"), BodySize: 5, Trailers: []byte("X: 1\r\n\r\n"),
				Chunks:   []*capturev1.Chunk{{Size: 3, Line: []byte("003;a=b")}, {Size: 2}, {Size: 0, Line: []byte("000")}},
				WireSize: wire(head + "003;a=b\r\nabc\r\n2\r\nde\r\n000\r\nX: 1\r\n\r\n"),
			}, nil,
			head + "003;a=b\r\nabc\r\n2\r\nde\r\n000\r\nX: 1\r\n\r\n", rawExact,
		},
		{
			"empty", &capturev1.Message{Head: []byte(head), WireSize: wire(head + "0\r\n\r\n")}, nil,
			head + "0\r\n\r\n", rawExact,
		},
		{
			"answer to HEAD", &capturev1.Message{Head: []byte(head), WireSize: wire(head)}, nil,
			head, rawExact,
		},
		{
			"cut by the peer", &capturev1.Message{
				Head: []byte(head), Body: []byte("abc"), BodySize: 3, Chunks: []*capturev1.Chunk{{Size: 3}},
				WireSize: wire(head + "3\r\nabc\r\n"),
			},
			[]capturev1.Flag{capturev1.Flag_FLAG_INCOMPLETE},
			head + "3\r\nabc\r\n", rawExact,
		},
		{
			"truncated", &capturev1.Message{
				Head: []byte(head), Body: []byte("abcd"), BodySize: 9, Truncated: true,
				Chunks: []*capturev1.Chunk{{Size: 3}, {Size: 3}, {Size: 3}}, WireSize: 9999,
			}, nil,
			head + "3\r\nabc\r\n3\r\nd", rawTruncated,
		},
		{
			"interim", &capturev1.Message{
				Head: []byte("HTTP/1.1 204 No Content\r\n\r\n"), Interim: [][]byte{[]byte("HTTP/1.1 100 Continue\r\n\r\n")}, WireSize: 27,
			}, nil,
			"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", rawExact,
		},
		{
			"redacted", &capturev1.Message{Head: []byte(head), Body: []byte("[x]"), BodySize: 3, WireSize: 100},
			[]capturev1.Flag{capturev1.Flag_FLAG_REDACTED},
			head + "3\r\n[x]\r\n0\r\n\r\n", rawChanged,
		},
		{
			"size differs", &capturev1.Message{Head: []byte(head), Body: []byte("abc"), BodySize: 3, WireSize: 100}, nil,
			head + "3\r\nabc\r\n0\r\n\r\n", rawRebuilt,
		},
		{
			"chunk list longer than the body", &capturev1.Message{Head: []byte(head), Body: []byte("a"), BodySize: 1, WireSize: 1, Chunks: []*capturev1.Chunk{{Size: 1 << 63}}}, nil,
			head + "8000000000000000\r\na", rawRebuilt,
		},
	} {
		got, state := rawMessage(&capturev1.RRPair{Flags: c.flags}, c.m)
		if string(got) != c.want || state != c.state {
			t.Errorf("%s: %s %q, want %s %q", c.name, state, got, c.state, c.want)
		}
	}
}
