package ingest

import (
	"hash/crc32"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/weir-capture/weir/analyzer/store/storetest"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

func hello1(f *storetest.Forwarder) *capturev1.Hello {
	h := hello(f)
	h.ApiVersion = capturev1.APIVersion
	return h
}

// greeting is the first answer, whole.
func (c *client) greeting() *capturev1.ExportResponse_Have {
	c.t.Helper()
	r, err := c.Recv()
	if err != nil || r.GetHave() == nil {
		c.t.Fatalf("got %v, %v", r, err)
	}
	return r.GetHave()
}

// acked reads acknowledgements until one covers these frames, and gives it.
func (c *client) acked(frames ...*capturev1.Frame) *capturev1.ExportResponse_Ack {
	c.t.Helper()
	for {
		r, err := c.Recv()
		if err != nil || r.GetStored() == nil {
			c.t.Fatalf("got %v, %v", r, err)
		}
		a := r.GetStored()
		if !slices.ContainsFunc(frames, func(f *capturev1.Frame) bool {
			return f.GetNextOffset() > a.GetNextOffset() && !slices.ContainsFunc(a.GetRanges(), func(r *capturev1.OffsetRange) bool {
				return r.GetFrom() <= f.GetOffset() && f.GetNextOffset() <= r.GetTo()
			})
		}) {
			return a
		}
	}
}

// Frames come newest first, the backlog after them; each is told of as it is
// there, and again to who comes back.
func TestInAnyOrder(t *testing.T) {
	f := serve(t, Config{})
	fw := storetest.NewForwarder(1, storetest.NewProxy(1))
	var frames []*capturev1.Frame
	for n := range uint64(6) {
		frames = append(frames, fw.Frame(storetest.Pairs(n, n+1)...))
	}
	c := dial(t, f)
	c.hello(hello1(fw))
	if h := c.greeting(); h.GetNextOffset() != 0 || h.GetLast() != nil || h.GetApiVersion() != capturev1.APIVersion {
		t.Errorf("have %v", h)
	}
	c.frames(frames[4], frames[5])
	c.acked(frames[4], frames[5])
	c.frames(frames[1])
	ack := c.acked(frames[1])
	want := []*capturev1.OffsetRange{
		{From: frames[1].GetOffset(), To: frames[1].GetNextOffset()},
		{From: frames[4].GetOffset(), To: frames[5].GetNextOffset()},
	}
	same := func(got []*capturev1.OffsetRange) bool {
		return slices.EqualFunc(got, want, func(a, b *capturev1.OffsetRange) bool { return proto.Equal(a, b) })
	}
	if ack.GetNextOffset() != 0 || !same(ack.GetRanges()) {
		t.Errorf("ack %v", ack)
	}
	c = dial(t, f)
	c.hello(hello1(fw))
	h := c.greeting()
	last := h.GetLast()
	sum := crc32.Checksum(slices.Concat(frames[5].GetHead(), frames[5].GetBody()), crc32.MakeTable(crc32.Castagnoli))
	if h.GetNextOffset() != 0 || !same(h.GetRanges()) || last.GetOffset() != frames[5].GetOffset() || last.GetChecksum() != sum {
		t.Errorf("have %v", h)
	}
	c.frames(frames...)
	if ack := c.acked(frames...); ack.GetNextOffset() != fw.Offset || len(ack.GetRanges()) != 0 {
		t.Errorf("ack %v", ack)
	}
	if got := numbers(t, f); !slices.Equal(got, []uint64{0, 1, 2, 3, 4, 5}) {
		t.Errorf("got %v", got)
	}
}

// A stretch that a spool no longer has stays open until its forwarder says that
// it is missing, whatever comes before that: only then it is known that nobody
// knows what was in it.
func TestWaitsToBeToldOfWhatIsMissing(t *testing.T) {
	f := serve(t, Config{})
	fw := storetest.NewForwarder(1, storetest.NewProxy(1))
	fw.Offset = 100
	first := fw.Frame(storetest.Pairs(0, 1)...)
	hole := fw.Offset
	fw.Offset += 100
	second := fw.Frame(storetest.Pairs(1, 2)...)
	c := dial(t, f)
	h := hello1(fw)
	h.OldestOffset = 100
	c.hello(h)
	c.greeting()
	c.frames(first)
	if ack := c.acked(first); ack.GetNextOffset() != 0 || len(ack.GetRanges()) != 1 {
		t.Errorf("ack %v", ack)
	}
	st := &capturev1.ForwarderStatus{Spool: &capturev1.SpoolState{OldestOffset: second.GetOffset()}}
	if err := c.Send(&capturev1.ExportRequest{Kind: &capturev1.ExportRequest_Status{Status: st}}); err != nil {
		t.Fatal(err)
	}
	c.frames(second)
	if ack := c.acked(second); ack.GetNextOffset() != 0 || len(ack.GetRanges()) != 2 {
		t.Errorf("ack %v", ack)
	}
	removed := []*capturev1.Frame{
		{NextOffset: 100, Missing: "removed"},
		{Offset: hole, NextOffset: second.GetOffset(), Missing: "removed"},
	}
	c.frames(removed...)
	if ack := c.acked(removed...); ack.GetNextOffset() != fw.Offset || len(ack.GetRanges()) != 0 {
		t.Errorf("ack %v", ack)
	}
	if gaps := f.dir.List()[0].Gaps; gaps != 2 {
		t.Errorf("%d gaps", gaps)
	}
}

// A frame that nobody can take is named, so that its forwarder can tell which
// it was; those before it are there.
func TestNamesTheFrameThatItRefuses(t *testing.T) {
	f := serve(t, Config{})
	fw := storetest.NewForwarder(1, storetest.NewProxy(1))
	c := dial(t, f)
	c.hello(hello1(fw))
	c.greeting()
	first := fw.Frame(storetest.Pairs(0, 1)...)
	c.frames(first)
	c.acked(first)
	c.frames(&capturev1.Frame{Offset: first.GetOffset() + 7, NextOffset: first.GetNextOffset() + 7})
	_, err := c.Recv()
	if st := status.Convert(err); st.Code() != codes.InvalidArgument || !strings.HasPrefix(st.Message(), "frame at offset 7: ") {
		t.Errorf("ended with %v", err)
	}
	if got := numbers(t, f); len(got) != 1 {
		t.Errorf("got %v", got)
	}
	if n := f.server.Counters().Refused; n != 1 {
		t.Errorf("refused %d", n)
	}
}

func TestMissingFrames(t *testing.T) {
	f := serve(t, Config{})
	fw := storetest.NewForwarder(1, storetest.NewProxy(1))
	c := dial(t, f)
	h := hello1(fw)
	h.OldestOffset = 10 // declared, where it speaks version 1
	c.hello(h)
	c.greeting()
	gone := &capturev1.Frame{Offset: 0, NextOffset: 500, Missing: "damaged header"}
	fw.Offset = 500
	after := fw.Frame(storetest.Pairs(0, 1)...)
	c.frames(gone, after)
	if ack := c.acked(gone, after); ack.GetNextOffset() != fw.Offset {
		t.Errorf("ack %v", ack)
	}
	if gaps := f.dir.List()[0].Gaps; gaps != 1 {
		t.Errorf("%d gaps", gaps)
	}
}

// Releases beside this one work with it, or are told why not.
func TestR33VersionsOfForwarders(t *testing.T) {
	f := serve(t, Config{})
	for _, c := range []struct {
		version, oldest uint32
		word            string // of the refusal; empty: it works
	}{
		{0, 0, ""},
		{capturev1.APIVersion, capturev1.APIOldest, ""},
		{capturev1.APIVersion + 1, capturev1.APIVersion, ""},
		{capturev1.APIVersion + 2, capturev1.APIVersion + 1, "bring this program up to date"},
	} {
		fw := storetest.NewForwarder(byte(c.version+1), storetest.NewProxy(byte(c.version+1)))
		cl := dial(t, f)
		h := hello(fw)
		h.ApiVersion, h.ApiOldest = c.version, c.oldest
		// A field of a later release.
		h.ProtoReflect().SetUnknown([]byte{0xf8, 0x3f, 1})
		cl.hello(h)
		if c.word != "" {
			_, err := cl.Recv()
			if st := status.Convert(err); st.Code() != codes.FailedPrecondition || !strings.Contains(st.Message(), c.word) {
				t.Errorf("version %d: %v", c.version, err)
			}
			continue
		}
		cl.greeting()
		// Version 0 sends in order, and has holes where segments end.
		first := fw.Frame(storetest.Pairs(uint64(c.version)*2, uint64(c.version)*2+1)...)
		fw.Offset += 64
		second := fw.Frame(storetest.Pairs(uint64(c.version)*2+1, uint64(c.version)*2+2)...)
		cl.frames(first, second)
		ack := cl.acked(first, second)
		if c.version == 0 && (ack.GetNextOffset() != fw.Offset || len(ack.GetRanges()) > 0 || f.store.Have(fw.Spool).Next != fw.Offset) {
			t.Errorf("version 0: ack %v, next %d", ack, f.store.Have(fw.Spool).Next)
		}
	}
	if got := numbers(t, f); len(got) != 6 {
		t.Errorf("got %v", got)
	}
}

// A peer that reads nothing keeps nobody waiting: neither what it sends, nor
// its spool's next stream.
func TestPeerThatReadsNothing(t *testing.T) {
	f := serve(t, Config{StopTimeout: time.Second})
	fw := storetest.NewForwarder(1, storetest.NewProxy(1))
	deaf := dial(t, f)
	deaf.hello(hello1(fw))
	// Each acknowledgement tells of all the ranges, so that soon no more fit
	// into what a connection holds for who does not read.
	const count = 1000
	for n := range uint64(count) {
		fw.Offset += 100
		deaf.frames(fw.Frame(storetest.Pairs(n, n+1)...))
	}
	last := fw.Offset
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		have := f.store.Have(fw.Spool)
		if n := len(have.Ranges); n > 0 && have.Ranges[n-1].To == last {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("stored %d of %d", len(have.Ranges), count)
		}
	}
	for n := range uint64(100) { // now one by one
		fw.Offset += 100
		fr := fw.Frame(storetest.Pairs(count+n, count+n+1)...)
		deaf.frames(fr)
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
			have := f.store.Have(fw.Spool)
			if have.Ranges[len(have.Ranges)-1].To == fr.GetNextOffset() {
				break
			}
			if time.Now().After(end) {
				t.Fatal("what it sends is no longer stored")
			}
		}
	}
	started := time.Now()
	next := dial(t, f)
	next.hello(hello1(fw))
	if h := next.greeting(); len(h.GetRanges()) != count+100 {
		t.Errorf("have %d ranges", len(h.GetRanges()))
	}
	if took := time.Since(started); took > 500*time.Millisecond {
		t.Errorf("the next stream waited %v", took)
	}
	if code := deaf.code(); code != codes.Aborted {
		t.Errorf("the first ended with %v", code)
	}
	fr := fw.Frame(storetest.Pairs(count+200, count+201)...)
	next.frames(fr)
	next.acked(fr)
}
