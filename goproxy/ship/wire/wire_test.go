package wire

import (
	"bytes"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// fill sets fields of a message, of those that its description has: a field
// that is new is filled too, and found missing in what was written.
func fill(t *rapid.T, m protoreflect.Message, all bool) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !all && rapid.IntRange(0, 3).Draw(t, "set") == 0 {
			continue
		}
		few := rapid.IntRange(1, 3)
		switch {
		case f.IsMap():
			entries := m.Mutable(f).Map()
			for range few.Draw(t, "entries") {
				entries.Set(value(t, f.MapKey(), nil, all).MapKey(), value(t, f.MapValue(), nil, all))
			}
		case f.IsList():
			list := m.Mutable(f).List()
			for range few.Draw(t, "elements") {
				list.Append(value(t, f, list.NewElement, all))
			}
		default:
			m.Set(f, value(t, f, func() protoreflect.Value { return m.NewField(f) }, all))
		}
	}
}

func value(t *rapid.T, f protoreflect.FieldDescriptor, fresh func() protoreflect.Value, all bool) protoreflect.Value {
	// Not 0, which is as good as absent, when all fields are to be there.
	least := 0
	if all {
		least = 1
	}
	switch f.Kind() {
	case protoreflect.MessageKind:
		v := fresh()
		fill(t, v.Message(), all)
		return v
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(rapid.SliceOfN(rapid.Byte(), least, 300).Draw(t, "bytes"))
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(rapid.StringN(least, 200, -1).Draw(t, "string"))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(all || rapid.Bool().Draw(t, "bool"))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(rapid.Uint64Min(uint64(least)).Draw(t, "uint64"))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(rapid.Uint32Min(uint32(least)).Draw(t, "uint32"))
	case protoreflect.Int64Kind:
		n := rapid.Int64().Draw(t, "int64")
		if n == 0 {
			n = int64(least)
		}
		return protoreflect.ValueOfInt64(n)
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(-rapid.Int32Min(int32(least)).Draw(t, "int32"))
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(rapid.Int32Range(int32(least)-1, 300).Draw(t, "enum") | int32(least)))
	default:
		t.Fatalf("%s is of a kind that is not known here", f.FullName())
		return protoreflect.Value{}
	}
}

// TestSameAsProtobuf: what is written is the batch of the same pairs, numbered,
// for every field that the model has.
func TestSameAsProtobuf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.Bool().Draw(t, "all")
		want := new(capturev1.Batch)
		var b []byte
		for range rapid.IntRange(0, 4).Draw(t, "pairs") {
			p := new(capturev1.RRPair)
			fill(t, p.ProtoReflect(), all)
			before := len(b)
			b = Append(b, p, none)
			if n, bound := len(b)-before, Bound(p, none); n > bound {
				t.Fatalf("%d bytes, the bound is %d", n, bound)
			}
			want.Pairs = append(want.Pairs, p)
		}
		for _, first := range []uint64{
			rapid.Uint64Range(1, 1000).Draw(t, "sequence"), rapid.Uint64Range(1, MaxSeq-4).Draw(t, "large sequence"),
		} {
			Number(b, first)
			for i, p := range want.Pairs {
				p.ProxySeq = first + uint64(i)
			}
			got := new(capturev1.Batch)
			if err := proto.Unmarshal(b, got); err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(got, want) {
				t.Fatalf("got  %v\nwant %v", got, want)
			}
		}
	})
}

// TestTextIsAlwaysReadable: a string that is not UTF-8 would make the whole
// batch unreadable.
func TestTextIsAlwaysReadable(t *testing.T) {
	b := Append(nil, &capturev1.RRPair{Error: "a\xffb", Tags: map[string]string{"k\xc0": "\xf0"}}, none)
	got := new(capturev1.Batch)
	if err := proto.Unmarshal(b, got); err != nil {
		t.Fatal(err)
	}
	if p := got.Pairs[0]; p.Error != "a\uFFFDb" || p.Tags["k\uFFFD"] != "\uFFFD" {
		t.Errorf("%v", p)
	}
}

// none: bodies that come in one piece.
var none [2][][]byte

// TestBodiesInPieces: a body is the same, in however many pieces it comes.
func TestBodiesInPieces(t *testing.T) {
	p := func(request, response string) *capturev1.RRPair {
		return &capturev1.RRPair{
			Request:  &capturev1.Message{Body: []byte(request), BodySize: 7},
			Response: &capturev1.Message{Head: []byte("h"), Body: []byte(response), Trailers: []byte("t")},
		}
	}
	want := Append(nil, p("one, two, three", "four, five"), none)
	in := p("one, ", "four,")
	rest := [2][][]byte{{[]byte("two, "), []byte("three")}, {[]byte(" "), []byte("five")}}
	got := Append(nil, in, rest)
	if !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
	if bound := Bound(in, rest); len(got) > bound {
		t.Errorf("%d bytes, bound %d", len(got), bound)
	}
}

func BenchmarkAppend(b *testing.B) {
	p := example()
	buf := make([]byte, 0, 4<<10)
	b.SetBytes(int64(len(Append(nil, p, none))))
	b.ReportAllocs()
	for b.Loop() {
		buf = Append(buf[:0], p, none)
	}
}

func BenchmarkMarshal(b *testing.B) {
	p := example()
	buf := make([]byte, 0, 4<<10)
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = proto.MarshalOptions{}.MarshalAppend(buf[:0], p)
	}
}

// example is a pair as they mostly are.
func example() *capturev1.RRPair {
	return &capturev1.RRPair{
		Id: make([]byte, 16), Direction: capturev1.Direction_DIRECTION_INBOUND, Protocol: "http",
		Client: "127.0.0.1:40000", Server: "127.0.0.1:8080", Conn: 3, Seq: 1000,
		Method: "GET", Host: "localhost", Path: "/some/path", Query: "a=b", Status: 200,
		Timing: &capturev1.Timing{
			Accepted: 1.7e18, Connected: 1.7e18, RequestFirst: 1.7e18, RequestLast: 1.7e18, ResponseFirst: 1.7e18, ResponseLast: 1.7e18,
		},
		Request:  &capturev1.Message{Head: []byte(strings.Repeat("h", 330)), WireSize: 330},
		Response: &capturev1.Message{Head: []byte(strings.Repeat("h", 200)), Body: make([]byte, 1024), BodySize: 1024, BodyHash: make([]byte, 16), WireSize: 1224},
	}
}
