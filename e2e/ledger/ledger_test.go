package ledger

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

const (
	idA = "0123456789abcdef0123456789abcdef"
	idB = "fedcba9876543210fedcba9876543210"
)

func call(id string) Call {
	return Call{
		ID: id, Client: "test", Method: "POST", Target: "/echo?id=" + id,
		Out: DigestBytes([]byte("sent " + id)), Status: 200, In: DigestBytes([]byte("got " + id)),
	}
}

func served(c Call) Served { return Served{c.ID, c.Method, c.Target, c.Status} }

func storedBody(b Body) StoredBody {
	s := StoredBody{Size: b.Size, Kept: b.Size, SHA: b.SHA}
	if b.Size > 0 {
		s.Hash = bytes.Clone(b.XXH3[:])
	}
	if b.Size > BodyLimit {
		s.Kept, s.SHA, s.Truncated = BodyLimit, b.PrefixSHA, true
	}
	return s
}

func stored(c Call) Stored {
	s := Stored{
		Pair: "pair-" + c.ID[:4], ID: c.ID, HeaderID: c.ID, EchoID: c.ID, Method: c.Method,
		Target: c.Target, Status: c.Status, Out: storedBody(c.Out), In: storedBody(c.In),
	}
	if s.Out.Truncated || s.In.Truncated {
		s.Flags = []string{"truncated"}
	}
	return s
}

// An oracle that never objects would pass every test that uses it, so each
// kind of difference is made once.
func TestCompareFindsEveryKindOfDifference(t *testing.T) {
	big := bytes.Repeat([]byte("x"), BodyLimit+1)
	for _, tc := range []struct {
		name string
		edit func(calls []Call, sv *[]Served, st *[]Stored)
		want func(*Report) []string
	}{
		{"nothing", func([]Call, *[]Served, *[]Stored) {}, nil},
		{"lost", func(_ []Call, _ *[]Served, st *[]Stored) { *st = (*st)[1:] }, func(r *Report) []string { return r.Lost }},
		{"twice", func(_ []Call, _ *[]Served, st *[]Stored) { *st = append(*st, (*st)[0]) }, func(r *Report) []string { return r.Twice }},
		{"phantom", func(_ []Call, _ *[]Served, st *[]Stored) {
			*st = append(*st, Stored{Pair: "p", ID: strings.Repeat("1", 32)})
		}, func(r *Report) []string { return r.Phantom }},
		{"phantom without id", func(_ []Call, _ *[]Served, st *[]Stored) { *st = append(*st, Stored{Pair: "p"}) }, func(r *Report) []string { return r.Phantom }},
		{"other status", func(_ []Call, _ *[]Served, st *[]Stored) { (*st)[0].Status = 500 }, func(r *Report) []string { return r.Corrupt }},
		{"other method", func(_ []Call, _ *[]Served, st *[]Stored) { (*st)[0].Method = "GET" }, func(r *Report) []string { return r.Corrupt }},
		{"other bytes", func(_ []Call, _ *[]Served, st *[]Stored) { (*st)[0].Out.SHA[0]++ }, func(r *Report) []string { return r.Corrupt }},
		{"other hash", func(_ []Call, _ *[]Served, st *[]Stored) { (*st)[0].Out.Hash[0]++ }, func(r *Report) []string { return r.Corrupt }},
		{"other size", func(_ []Call, _ *[]Served, st *[]Stored) { (*st)[0].In.Size++ }, func(r *Report) []string { return r.Corrupt }},
		{"unmarked truncation", func(c []Call, _ *[]Served, st *[]Stored) {
			c[0].In = DigestBytes(big)
			(*st)[0] = stored(c[0])
			(*st)[0].Flags = nil
		}, func(r *Report) []string { return r.Corrupt }},
		{"wrong prefix", func(c []Call, _ *[]Served, st *[]Stored) {
			c[0].In = DigestBytes(big)
			(*st)[0] = stored(c[0])
			(*st)[0].In.SHA[3]++
		}, func(r *Report) []string { return r.Corrupt }},
		{"truncated as it should be", func(c []Call, _ *[]Served, st *[]Stored) {
			c[0].In = DigestBytes(big)
			(*st)[0] = stored(c[0])
		}, nil},
		{"needless flag", func(_ []Call, _ *[]Served, st *[]Stored) { (*st)[0].Flags = []string{"gap"} }, func(r *Report) []string { return r.Corrupt }},
		{"response of another by its header", func(_ []Call, _ *[]Served, st *[]Stored) { (*st)[0].EchoID = idB }, func(r *Report) []string { return r.Mispaired }},
		{"response of another by its body", func(_ []Call, _ *[]Served, st *[]Stored) {
			(*st)[0].EchoID = ""
			(*st)[0].In = (*st)[1].In
		}, func(r *Report) []string { return r.Mispaired }},
		{"client got an error", func(c []Call, _ *[]Served, st *[]Stored) {
			c[0].Err = "reset"
			(*st)[0].Flags = []string{"incomplete"}
		}, func(r *Report) []string { return r.Failed }},
		{"server never saw it", func(_ []Call, sv *[]Served, _ *[]Stored) { *sv = (*sv)[1:] }, func(r *Report) []string { return r.Failed }},
		{"server saw it twice", func(_ []Call, sv *[]Served, _ *[]Stored) { *sv = append(*sv, (*sv)[0]) }, func(r *Report) []string { return r.Failed }},
		{"aborted and not marked", func(c []Call, _ *[]Served, _ *[]Stored) { c[0].Aborted = true }, func(r *Report) []string { return r.Corrupt }},
		{"aborted and marked", func(c []Call, _ *[]Served, st *[]Stored) {
			c[0].Aborted = true
			(*st)[0].Flags = []string{"incomplete"}
		}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			calls := []Call{call(idA), call(idB)}
			sv := []Served{served(calls[0]), served(calls[1])}
			st := []Stored{stored(calls[0]), stored(calls[1])}
			tc.edit(calls, &sv, &st)
			r := Compare(calls, sv, st)
			if tc.want == nil {
				if !r.OK() {
					t.Fatalf("found a difference where there is none: %v", r)
				}
				return
			}
			if r.OK() || len(tc.want(r)) != 1 {
				t.Fatalf("want exactly one finding of this kind: %v", r)
			}
		})
	}
}

func TestDigestIsTheSameForAnySplit(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), BodyLimit/5)
	want := DigestBytes(data)
	if want.Size != int64(len(data)) || want.SHA == want.PrefixSHA {
		t.Fatalf("unexpected digest %+v", want)
	}
	got, err := Digest(&slow{data})
	if err != nil || got != want {
		t.Fatalf("split: %+v, %v; want %+v", got, err, want)
	}
	if cut := DigestBytes(data[:BodyLimit]); cut.SHA != want.PrefixSHA {
		t.Fatal("prefix is not the first BodyLimit bytes")
	}
}

type slow struct{ p []byte }

func (s *slow) Read(b []byte) (int, error) {
	n := copy(b[:min(len(b), 4097)], s.p)
	s.p = s.p[n:]
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func TestFindID(t *testing.T) {
	for target, want := range map[string]string{
		"/p/" + idA + ".txt": idA,
		"/echo?id=" + idB:    idB,
		"/echo":              "",
		"/" + idA + "ff":     "",
	} {
		if got := FindID(target); got != want {
			t.Errorf("FindID(%q) = %q, want %q", target, got, want)
		}
	}
}
