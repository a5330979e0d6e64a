package receive

import (
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// pairOf draws a pair of which most proxies write: no source, no tags.
func pairOf(t *rapid.T) *capturev1.RRPair {
	num := rapid.Uint64()
	when := rapid.Int64()
	text := rapid.StringN(0, 40, -1)
	data := rapid.SliceOfN(rapid.Byte(), 0, 60)
	message := func() *capturev1.Message {
		if !rapid.Bool().Draw(t, "there") {
			return nil
		}
		m := &capturev1.Message{
			Head: data.Draw(t, "head"), Body: data.Draw(t, "body"), Trailers: data.Draw(t, "trailers"), BodySize: num.Draw(t, "size"),
			BodyHash: data.Draw(t, "hash"), WireSize: num.Draw(t, "wire"), Truncated: rapid.Bool().Draw(t, "truncated"),
			BodyDecoded: rapid.Bool().Draw(t, "decoded"),
		}
		for range rapid.IntRange(0, 2).Draw(t, "chunks") {
			m.Chunks = append(m.Chunks, &capturev1.Chunk{Size: num.Draw(t, "chunk"), Line: data.Draw(t, "line")})
			m.Interim = append(m.Interim, data.Draw(t, "interim"))
		}
		return m
	}
	p := &capturev1.RRPair{
		Id: data.Draw(t, "id"), ProxySeq: num.Draw(t, "sequence"), Direction: capturev1.Direction(rapid.Int32Range(0, 3).Draw(t, "direction")),
		Protocol: text.Draw(t, "protocol"), Client: text.Draw(t, "client"), Server: text.Draw(t, "server"), Conn: num.Draw(t, "conn"), Seq: num.Draw(t, "seq"),
		Method: text.Draw(t, "method"), Host: text.Draw(t, "host"), Path: text.Draw(t, "path"), Query: text.Draw(t, "query"),
		Status: rapid.Int32().Draw(t, "status"), Error: text.Draw(t, "error"), Request: message(), Response: message(),
		SampleWeight: rapid.Uint32().Draw(t, "weight"),
	}
	if rapid.Bool().Draw(t, "timed") {
		p.Timing = &capturev1.Timing{
			Accepted: when.Draw(t, "1"), Connected: when.Draw(t, "2"), RequestFirst: when.Draw(t, "3"),
			RequestLast: when.Draw(t, "4"), ResponseFirst: when.Draw(t, "5"), ResponseLast: when.Draw(t, "6"),
		}
	}
	for range rapid.IntRange(0, 6).Draw(t, "flags") {
		p.Flags = append(p.Flags, capturev1.Flag(rapid.Int32Range(0, 200).Draw(t, "flag")))
	}
	return p
}

// TestLeanIsTheGeneratedCode: what proxies write is read as the generated code
// reads it, without its help.
func TestLeanIsTheGeneratedCode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := pairOf(t)
		b, err := proto.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var p leanPair
		if err := p.read(b); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(&p.pair, want) {
			t.Fatalf("got  %v\nwant %v", &p.pair, want)
		}
	})
}

// TestIncoming: whatever comes is what the generated code makes of it, also
// where it is not as proxies write it, and also when the memory was used
// before.
func TestIncoming(t *testing.T) {
	c := newCodec()
	rapid.Check(t, func(t *rapid.T) {
		want := &capturev1.PushRequest{Kind: &capturev1.PushRequest_Heartbeat{Heartbeat: &capturev1.Heartbeat{Now: 4}}}
		if rapid.IntRange(0, 5).Draw(t, "kind") > 0 {
			b := &capturev1.Batch{Seq: rapid.Uint64().Draw(t, "seq"), MaybeDuplicate: rapid.Bool().Draw(t, "duplicate"), Counters: &capturev1.Counters{Seen: 3}}
			for range rapid.IntRange(0, 70).Draw(t, "pairs") {
				p := pairOf(t)
				switch rapid.IntRange(0, 20).Draw(t, "unusual") {
				case 0:
					p.Source = &capturev1.Source{App: "a"}
				case 1:
					p.Tags = map[string]string{"k": "v"}
				case 2:
					p.ProtoReflect().SetUnknown([]byte{0xf8, 0x3f, 1})
				}
				b.Pairs = append(b.Pairs, p)
			}
			want.Kind = &capturev1.PushRequest_Batch{Batch: b}
		}
		data, err := proto.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if rapid.IntRange(0, 9).Draw(t, "torn") == 0 {
			data = data[:rapid.IntRange(0, len(data)).Draw(t, "to")]
		}
		compare(t, c, data)
	})
}

type failer interface {
	Fatalf(format string, args ...any)
}

// compare reads a message in both ways.
func compare(t failer, c codec, data []byte) {
	want, got := new(capturev1.PushRequest), new(incoming)
	wantErr := proto.Unmarshal(data, want)
	err := c.Unmarshal(mem.BufferSlice{mem.SliceBuffer(data)}, got)
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("got %v, want %v", err, wantErr)
	}
	if err != nil {
		return
	}
	if !proto.Equal(got.req, want) {
		t.Fatalf("got  %v\nwant %v", got.req, want)
	}
	for i, raw := range got.raw {
		p := new(capturev1.RRPair)
		if err := proto.Unmarshal(raw, p); err != nil || !proto.Equal(p, want.GetBatch().GetPairs()[i]) {
			t.Fatalf("pair %d came as %v, %v", i, p, err)
		}
	}
	got.release()
}

func FuzzIncoming(f *testing.F) {
	c := newCodec()
	for _, p := range []*capturev1.RRPair{
		{Id: make([]byte, 16), Method: "GET", Timing: &capturev1.Timing{Accepted: -1}, Flags: []capturev1.Flag{1, 300}},
		{Request: &capturev1.Message{Head: []byte("a"), Chunks: []*capturev1.Chunk{{Size: 1}}}, Tags: map[string]string{"k": "v"}},
	} {
		b, err := proto.Marshal(&capturev1.PushRequest{Kind: &capturev1.PushRequest_Batch{Batch: &capturev1.Batch{Seq: 1, Pairs: []*capturev1.RRPair{p, p}}}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) { compare(t, c, data) })
}
