package interchange

import (
	"bytes"
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"
)

// fuzzRead holds a reader to what is true of every file: mistakes have a
// place, and a pair that is read can be written and read again, the same.
func fuzzRead(t *testing.T, f Format, file []byte) {
	limits := Limits{EntryBytes: 1 << 20, Values: 10_000}
	for p, err := range Read(f, bytes.NewReader(file), limits) {
		if err != nil {
			if wrong, ok := errors.AsType[*EntryError](err); !ok || wrong.Message == "" || wrong.Entry == 0 && !wrong.Final {
				t.Fatalf("%#v", err)
			}
			continue
		}
		if len(p.GetId()) != 16 {
			t.Fatalf("id %x", p.GetId())
		}
		if _, err := proto.Marshal(p); err != nil {
			t.Fatal(err)
		}
		for _, again := range []Format{JSONL, HAR} {
			written, left := write(t, again, p)
			if left > 0 {
				continue
			}
			n := 0
			for back, err := range Read(again, bytes.NewReader(written), Limits{}) {
				if n++; err != nil || !proto.Equal(back, p) {
					t.Fatalf("%s: %v\n got %v\nwant %v\n%s", again, err, back, p, written)
				}
			}
			if n != 1 {
				t.Fatalf("%d pairs", n)
			}
		}
		write(t, RRPair, p)
		write(t, Curl, p)
	}
}

func FuzzHAR(f *testing.F) {
	file, _ := write(f, HAR, odd()...)
	f.Add(file)
	f.Add([]byte(`{"log":{"entries":[{"startedDateTime":"2026-11-23T12:00:00Z","request":{"method":"GET","url":"https://a/?x"},"response":{"status":200}}]}}`))
	f.Fuzz(func(t *testing.T, file []byte) { fuzzRead(t, HAR, file) })
}

func FuzzJSONL(f *testing.F) {
	file, _ := write(f, JSONL, odd()[:3]...)
	f.Add(file)
	f.Fuzz(func(t *testing.T, file []byte) { fuzzRead(t, JSONL, file) })
}

func FuzzRRPair(f *testing.F) {
	file, _ := write(f, RRPair, odd()[:3]...)
	f.Add(file)
	f.Add([]byte(`{"msgType":"rrpair","ts":"2026-11-23T12:00:00Z","l7protocol":"postgres","command":"SELECT","tags":{"sequence":"1"},"netinfo":{"upstream":{"hostname":"db","port":5432}}}`))
	f.Fuzz(func(t *testing.T, file []byte) { fuzzRead(t, RRPair, file) })
}
