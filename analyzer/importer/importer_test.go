package importer_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weir-capture/weir/analyzer/importer"
	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/memstore"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func pair(n, size int) *capturev1.RRPair {
	id := make([]byte, 16)
	binary.BigEndian.PutUint32(id[12:], uint32(n))
	return &capturev1.RRPair{
		Id: id, Timing: &capturev1.Timing{RequestFirst: now.Add(time.Duration(n) * time.Second).UnixNano()},
		Request: &capturev1.Message{Body: bytes.Repeat([]byte("x"), size), BodySize: uint64(size)},
	}
}

func newStore() *memstore.Store { return memstore.New(func() int64 { return now.UnixNano() }) }

func begin(t *testing.T, im *importer.Importer, app string) *importer.Import {
	t.Helper()
	run, err := im.Begin(app)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// TestOnce: what is there is left out, whether it came before, in the same
// frame, or in one before it; the rest is stored in the order of the file.
func TestOnce(t *testing.T) {
	st := newStore()
	im := importer.New(st, func() time.Time { return now })
	for round, want := range []importer.Counts{{Stored: 150, Known: 51}, {Known: 201}} {
		run := begin(t, im, "shop")
		for _, from := range []int{0, 100} {
			for n := range 100 {
				if err := run.Add(t.Context(), pair(from/2+n, 10)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := run.Add(t.Context(), pair(149, 10)); err != nil {
			t.Fatal(err)
		}
		if err := run.Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		run.Close()
		if got := run.Counts(); got != want {
			t.Errorf("round %d: %+v, want %+v", round, got, want)
		}
	}
	n := 0
	for s, err := range st.Scan(t.Context(), store.Scan{}) {
		want := pair(n, 10)
		want.Source = &capturev1.Source{App: "shop"}
		if err != nil || !proto.Equal(s.Pair, want) {
			t.Fatalf("%d: %v %v", n, s, err)
		}
		n++
	}
	if n != 150 {
		t.Errorf("%d stored", n)
	}
}

// TestLimits: a pair that is too large is refused alone; many large ones are
// not put into one frame.
func TestLimits(t *testing.T) {
	st := newStore()
	im := importer.New(st, func() time.Time { return now })
	run := begin(t, im, "")
	if _, err := im.Begin(""); !errors.Is(err, importer.ErrBusy) {
		t.Errorf("two at a time: %v", err)
	}
	for n := range 5 {
		if err := run.Add(t.Context(), pair(n, 3<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if got := run.Counts().Stored; got != 4 {
		t.Errorf("%d are durable while one is held, want 4", got)
	}
	err := run.Add(t.Context(), pair(9, importer.MaxPair))
	if _, ok := errors.AsType[*importer.PairError](err); !ok {
		t.Errorf("too large: %v", err)
	}
	if err := run.Finish(t.Context()); err != nil || run.Counts().Stored != 5 {
		t.Errorf("%+v %v", run.Counts(), err)
	}
	run.Close()
	run.Close()
	begin(t, im, "").Close()
}
