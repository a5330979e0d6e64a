package frame_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/frame"
)

func source() *capturev1.Source {
	return &capturev1.Source{Cluster: "c", App: "shop", Pod: "shop-1", ProxyId: "shop-1", Epoch: bytes.Repeat([]byte{7}, frame.EpochLen)}
}

func pair(seq uint64, at int64) *capturev1.RRPair {
	return &capturev1.RRPair{
		Id: bytes.Repeat([]byte{byte(seq)}, 16), Source: source(), ProxySeq: seq, Protocol: "http", Method: "GET", Path: "/cart",
		Timing:  &capturev1.Timing{RequestFirst: at},
		Request: &capturev1.Message{Head: []byte("GET /cart HTTP/1.1\r\n\r\n")}, Response: &capturev1.Message{Body: bytes.Repeat([]byte("hello "), 1000)},
	}
}

func TestRoundTrip(t *testing.T) {
	pairs := []*capturev1.RRPair{pair(11, 500), pair(12, 300), pair(13, 900)}
	head := &capturev1.FrameHead{Source: source(), BatchSeq: 4, FirstPairSeq: 11, Received: 6, Filtered: map[string]uint32{"health": 2}, Dropped: map[string]uint32{"x": 1}}
	hb, body, err := frame.Make(head, pairs)
	if err != nil {
		t.Fatal(err)
	}
	got, err := frame.Head(hb)
	if err != nil {
		t.Fatal(err)
	}
	if got.GetPairs() != 3 || got.GetTimeMin() != 300 || got.GetTimeMax() != 900 || got.GetBodyLen() == 0 || got.GetBatchSeq() != 4 {
		t.Errorf("head: %v", got)
	}
	if len(body) >= int(got.GetBodyLen()) {
		t.Errorf("body of %d bytes took %d", got.GetBodyLen(), len(body))
	}
	back, err := frame.Pairs(got, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := range pairs {
		if !proto.Equal(pairs[i], back[i]) {
			t.Errorf("pair %d differs: %v", i, back[i])
		}
	}
}

func TestNothingLeft(t *testing.T) {
	hb, body, err := frame.Make(&capturev1.FrameHead{Source: source(), Received: 2, Filtered: map[string]uint32{"health": 2}}, nil)
	if err != nil || len(body) != 0 {
		t.Fatal(body, err)
	}
	head, err := frame.Head(hb)
	if err != nil {
		t.Fatal(err)
	}
	if pairs, err := frame.Pairs(head, nil); err != nil || len(pairs) != 0 {
		t.Fatal(pairs, err)
	}
}

func TestWhatDoesNotAddUpIsRefused(t *testing.T) {
	many := make([]*capturev1.RRPair, frame.MaxPairs+1)
	for i := range many {
		many[i] = pair(uint64(i), 1)
	}
	for name, c := range map[string]struct {
		head  *capturev1.FrameHead
		pairs []*capturev1.RRPair
	}{
		"too many":     {&capturev1.FrameHead{Source: source(), Received: frame.MaxPairs + 1}, many},
		"lost a pair":  {&capturev1.FrameHead{Source: source(), Received: 2}, many[:1]},
		"no source":    {&capturev1.FrameHead{Received: 1}, many[:1]},
		"short epoch":  {&capturev1.FrameHead{Source: &capturev1.Source{Epoch: []byte("x")}, Received: 1}, many[:1]},
		"invented one": {&capturev1.FrameHead{Source: source(), Received: 0}, many[:1]},
	} {
		if _, _, err := frame.Make(c.head, c.pairs); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestBodyIsNotTakenAtItsWord(t *testing.T) {
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	bomb := enc.EncodeAll(make([]byte, frame.MaxBodyLen+1), nil)
	for name, c := range map[string]struct {
		head *capturev1.FrameHead
		body []byte
	}{
		"longer than said":  {&capturev1.FrameHead{Pairs: 1, BodyLen: 10}, enc.EncodeAll(make([]byte, 1<<20), nil)},
		"over the limit":    {&capturev1.FrameHead{Pairs: 1, BodyLen: frame.MaxBodyLen + 1}, bomb},
		"not zstd":          {&capturev1.FrameHead{Pairs: 1, BodyLen: 10}, []byte("0123456789")},
		"missing":           {&capturev1.FrameHead{Pairs: 1, BodyLen: 10}, nil},
		"fewer pairs":       {&capturev1.FrameHead{Pairs: 1}, enc.EncodeAll(nil, nil)},
		"not a frame body":  {&capturev1.FrameHead{Pairs: 1, BodyLen: 4}, enc.EncodeAll([]byte{0x0a, 0xff, 0xff, 0x01}, nil)},
		"two zstd in a row": {&capturev1.FrameHead{Pairs: 1, BodyLen: 4}, append(enc.EncodeAll([]byte("abcd"), nil), enc.EncodeAll([]byte("abcd"), nil)...)},
	} {
		if _, err := frame.Pairs(c.head, c.body); !errors.Is(err, frame.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzFrame(f *testing.F) {
	hb, body, err := frame.Make(&capturev1.FrameHead{Source: source(), Received: 1}, []*capturev1.RRPair{pair(1, 5)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(hb, body)
	f.Fuzz(func(t *testing.T, hb, body []byte) {
		head, err := frame.Head(hb)
		if err != nil {
			return
		}
		pairs, err := frame.Pairs(head, body)
		if err != nil {
			return
		}
		// What can be read can be made again, and says the same.
		hb2, body2, err := frame.Make(head, pairs)
		if err != nil {
			t.Fatal(err)
		}
		head2, err := frame.Head(hb2)
		if err != nil {
			t.Fatal(err)
		}
		again, err := frame.Pairs(head2, body2)
		if err != nil || len(again) != len(pairs) {
			t.Fatal(len(again), len(pairs), err)
		}
	})
}

// A body of any length comes back, also one so short that zstd would rather
// not say how long it is.
func TestBodiesOfEveryLength(t *testing.T) {
	for n := 0; n < 1500; n++ {
		want := &capturev1.RRPair{Path: strings.Repeat("x", n)}
		head := &capturev1.FrameHead{Source: &capturev1.Source{Epoch: make([]byte, frame.EpochLen)}, Received: 1}
		h, body, err := frame.Make(head, []*capturev1.RRPair{want})
		if err != nil {
			t.Fatal(err)
		}
		if head, err = frame.Head(h); err != nil {
			t.Fatal(err)
		}
		got, err := frame.Pairs(head, body)
		if err != nil || len(got) != 1 || !proto.Equal(got[0], want) {
			t.Fatalf("path of %d bytes: %v, %v", n, got, err)
		}
	}
}

// Frames that were made and read in a bubble of virtual time leave nothing
// behind that is of no use outside of it.
func TestInABubble(t *testing.T) {
	make1 := func() {
		h := &capturev1.FrameHead{Source: source(), BatchSeq: 1, Received: 1}
		_, body, err := frame.Make(h, []*capturev1.RRPair{pair(1, 5)})
		if err != nil {
			t.Error(err)
		}
		if _, err := frame.Pairs(h, body); err != nil {
			t.Error(err)
		}
	}
	for range 3 {
		synctest.Test(t, func(*testing.T) { make1() })
		make1()
	}
}

// TestMakeEncoded: a frame of pairs that were encoded elsewhere holds the same
// as one that is encoded here.
func TestMakeEncoded(t *testing.T) {
	src := &capturev1.Source{App: "shop", Epoch: make([]byte, frame.EpochLen)}
	encoded, err := frame.EncodeSource(src)
	if err != nil {
		t.Fatal(err)
	}
	var raw []byte
	var pairs []*capturev1.RRPair
	for i := range 3 {
		p := &capturev1.RRPair{Method: "GET", ProxySeq: uint64(i), Timing: &capturev1.Timing{RequestFirst: int64(900 - 300*i)}}
		b, err := proto.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		raw = frame.AppendPair(raw, b, encoded)
		p.Source = src
		pairs = append(pairs, p)
	}
	one, two := &capturev1.FrameHead{Source: src, BatchSeq: 4, Received: 3}, &capturev1.FrameHead{Source: src, BatchSeq: 4, Received: 3}
	_, want, err := frame.Make(one, pairs)
	if err != nil {
		t.Fatal(err)
	}
	_, body, err := frame.MakeEncoded(two, pairs, raw)
	if err != nil {
		t.Fatal(err)
	}
	if one.BodyLen = two.BodyLen; !proto.Equal(one, two) {
		t.Errorf("head %v, want %v", two, one)
	}
	got, err := frame.Pairs(two, body)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range got {
		if !proto.Equal(p, pairs[i]) {
			t.Errorf("pair %v, want %v", p, pairs[i])
		}
	}
	if len(want) == 0 {
		t.Error("no body")
	}
}
