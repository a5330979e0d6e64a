package storetest

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/weir-capture/weir/analyzer/store"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// ownership: an engine keeps nothing of the frames that it was given, and what
// it gave stays as it was, whatever is asked and appended after that.
func ownership(t *testing.T, e Engine) {
	f := NewForwarder(1, NewProxy(1))
	var frames []*capturev1.Frame
	for n := range uint64(10) {
		fr := f.Frame(Pairs(n*5, n*5+5)...)
		add(t, e, f, fr)
		frames = append(frames, fr)
	}
	given := All(t, e, store.List{Whole: true})
	shown := All(t, e, store.List{})
	var before []*capturev1.RRPair
	for _, st := range append(given, shown...) {
		before = append(before, proto.CloneOf(st.Pair))
	}
	for _, fr := range frames {
		spoil(fr.GetHead())
		spoil(fr.GetBody())
	}
	add(t, e, f, f.Frame(Pairs(50, 60)...))
	for _, src := range []string{"", "body:declined", "status:5xx", "acme"} {
		for _, whole := range []bool{false, true} {
			All(t, e, store.List{Query: parse(t, src), Whole: whole})
		}
	}
	for i, st := range append(given, shown...) {
		if !proto.Equal(st.Pair, before[i]) {
			t.Errorf("element %d of a list was %v and became %v", i, before[i], st.Pair)
		}
	}
	for n := range uint64(60) {
		st, err := e.Pair(t.Context(), store.ID(Pair(n).GetId()))
		if err != nil || !proto.Equal(st.Pair, Pair(n)) {
			t.Errorf("pair %d is %v, %v", n, st, err)
		}
	}
}

func spoil(b []byte) {
	for i := range b {
		b[i] = 0xaa
	}
}
