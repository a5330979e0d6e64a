package corpus_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/bench/store/corpus"
	"github.com/weir-capture/weir/frame"
)

var day = corpus.Day(40_000, time.Unix(1_790_000_000, 0))

// TestShape holds the corpus to what its description says: the store's goals
// are for such pairs and no others.
func TestShape(t *testing.T) {
	m := corpus.NewMaker(day)
	var size, req, resp, gz, binary, c4, c5, rare, common, big int
	apps, endpoints := map[string]bool{}, map[string]bool{}
	var group []*capturev1.RRPair
	var raw, packed int
	for n := range day.Pairs {
		p := m.Pair(n)
		size += proto.Size(p)
		req += len(p.GetRequest().GetBody())
		body := p.GetResponse().GetBody()
		resp += len(body)
		switch p.GetStatus() / 100 {
		case 4:
			c4++
		case 5:
			c5++
		}
		switch {
		case bytes.Contains(p.GetResponse().GetHead(), []byte("Content-Encoding: gzip")):
			gz++
			r, err := gzip.NewReader(bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if body, err = io.ReadAll(r); err != nil {
				t.Fatal(err)
			}
		case bytes.Contains(p.GetResponse().GetHead(), []byte("octet-stream")):
			binary++
		}
		if len(body) > 200<<10 {
			big++
		}
		if bytes.Contains(body, []byte(corpus.Rare)) {
			rare++
		}
		if bytes.Contains(body, []byte(corpus.Common)) {
			common++
		}
		apps[corpus.App(int(n%corpus.Proxies))] = true
		endpoints[p.GetHost()+p.GetMethod()] = true
		// One proxy's pairs, as they come in batches.
		if n < corpus.Proxies*640 && n%corpus.Proxies == 3 {
			if group = append(group, proto.CloneOf(p)); len(group) == 64 {
				head := &capturev1.FrameHead{Source: corpus.Source(3, 1), BatchSeq: n + 1, FirstPairSeq: 1, Received: 64}
				_, b, err := frame.Make(head, group)
				if err != nil {
					t.Fatal(err)
				}
				raw, packed = raw+int(head.GetBodyLen()), packed+len(b)
				group = nil
			}
		}
	}
	pairs := int(day.Pairs)
	for _, c := range []struct {
		what      string
		got       float64
		low, high float64
	}{
		{"bytes of a pair", float64(size) / float64(pairs), 4000, 4300},
		{"bytes of a request body", float64(req) / float64(pairs), 1100, 1300},
		{"bytes of a response body", float64(resp) / float64(pairs), 2050, 2350},
		{"times that a frame is compressed", float64(raw) / float64(packed), 3.4, 4.1},
		{"share of gzip", float64(gz) / float64(pairs), 0.026, 0.034},
		{"share of binary", float64(binary) / float64(pairs), 0.007, 0.013},
		{"share of 4xx", float64(c4) / float64(pairs), 0.035, 0.045},
		{"share of 5xx", float64(c5) / float64(pairs), 0.017, 0.023},
		{"share with the common word", float64(common) / float64(pairs), 0.044, 0.056},
		{"needles", float64(rare), corpus.Needles, corpus.Needles},
		{"large bodies", float64(big), 1, 2},
		{"apps", float64(len(apps)), corpus.Apps, corpus.Apps},
		{"endpoints", float64(len(endpoints)), corpus.Endpoints, corpus.Endpoints},
	} {
		t.Logf("%s: %.3f", c.what, c.got)
		if c.got < c.low || c.got > c.high {
			t.Errorf("%s: %.3f, want %.3f to %.3f", c.what, c.got, c.low, c.high)
		}
	}
}

func TestSameAgain(t *testing.T) {
	a, b := corpus.NewMaker(day), corpus.NewMaker(day)
	for _, n := range []uint64{0, 1, 6666, 17, 39_999} {
		b.Pair(n + 1)
		if !proto.Equal(a.Pair(n), b.Pair(n)) {
			t.Errorf("pair %d depends on what was made before it", n)
		}
	}
}

func BenchmarkPair(b *testing.B) {
	m := corpus.NewMaker(day)
	b.ReportAllocs()
	for n := uint64(0); b.Loop(); n++ {
		m.Pair(n % day.Pairs)
	}
}
