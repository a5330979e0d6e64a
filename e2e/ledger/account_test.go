package ledger

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	httpv1 "github.com/weir-capture/weir/api/http/v1"
)

// fake is an analyzer that shows what the test wants it to.
type fake struct {
	rows   []Row
	pairs  map[string]*Pair
	bodies map[string][]byte
	ledger httpv1.Ledger
}

func (f *fake) serve(t *testing.T) *Analyzer {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, "/api/v1/")
		var v any
		switch {
		case path == "ledger":
			v = f.ledger
		case path == "pairs":
			v = Page{Pairs: f.rows}
		case strings.HasSuffix(path, "/body"):
			_, _ = w.Write(f.bodies[path])
			return
		default:
			v = f.pairs[path]
		}
		_ = json.NewEncoder(w).Encode(v)
	}))
	t.Cleanup(s.Close)
	return NewAnalyzer(s.URL)
}

// truth is a book of two requests and an analyzer that shows just these.
func truth() (*Book, *fake) {
	b, f := NewBook(), &fake{pairs: map[string]*Pair{}, bodies: map[string][]byte{}, ledger: httpv1.Ledger{Holds: true}}
	for i := range 2 {
		e := Entry{ID: [16]byte{1, byte(i)}, Sent: int64(i + 1), Done: int64(i + 2), Status: 200}
		in := Noise(e.ID, 0, 100+i)
		e.In = SumOf(in)
		b.Add(e, nil)
		b.Serve(e.ID, 200, Sum{})
		id := fmt.Sprintf("%x", e.ID)
		row := Row{ID: "pair" + id, Time: time.Unix(0, -int64(i)), Method: "GET", Path: "/f/" + id, Status: 200, Response: e.In.Size}
		f.rows = append(f.rows, row)
		echo := [][2]string{{Header, id}}
		f.pairs["pairs/"+row.ID] = &Pair{
			Row: row, RequestMsg: &Message{Headers: echo},
			ResponseMsg: &Message{Headers: echo, BodySize: e.In.Size, BodyHash: fmt.Sprintf("%x", e.In.XXH3)},
		}
		f.bodies["pairs/"+row.ID+"/response/body"] = in
	}
	f.ledger.Total = httpv1.LedgerCounts{Seen: 2, Stored: 2}
	return b, f
}

// As with Compare: each kind of difference is made once.
func TestAccountFindsEveryKindOfDifference(t *testing.T) {
	for _, tc := range []struct {
		name string
		edit func(*Book, *fake)
		want func(*Account) uint64
	}{
		{"nothing", func(*Book, *fake) {}, nil},
		{"lost", func(_ *Book, f *fake) {
			f.rows, f.ledger.Total.Stored, f.ledger.Total.Seen = f.rows[1:], 1, 1
		}, func(a *Account) uint64 { return a.Lost }},
		{"declared", func(_ *Book, f *fake) {
			f.rows, f.ledger.Total.Stored = f.rows[1:], 1
			f.ledger.Total.Dropped = []httpv1.LedgerDrop{{Hop: "proxy", Reason: "memory", Pairs: 1}}
		}, nil},
		{"twice", func(_ *Book, f *fake) { f.rows = append(f.rows, f.rows[1]) }, func(a *Account) uint64 { return a.Twice }},
		{"phantom", func(_ *Book, f *fake) { f.rows[1].Path = "/f/" + strings.Repeat("7", 32) }, func(a *Account) uint64 { return a.Phantom }},
		{"other status", func(_ *Book, f *fake) {
			f.rows[1].Status, f.pairs["pairs/"+f.rows[1].ID].Status = 500, 500
		}, func(a *Account) uint64 { return a.Mispaired }},
		{"response of another", func(_ *Book, f *fake) {
			f.pairs["pairs/"+f.rows[0].ID].ResponseMsg.Headers = f.pairs["pairs/"+f.rows[1].ID].ResponseMsg.Headers
		}, func(a *Account) uint64 { return a.Mispaired }},
		{"a flag", func(_ *Book, f *fake) { f.rows[1].Flags = []string{"gap"} }, func(a *Account) uint64 { return a.Corrupt }},
		{"other bytes", func(_ *Book, f *fake) { f.bodies["pairs/"+f.rows[0].ID+"/response/body"][5] ^= 1 }, func(a *Account) uint64 { return a.Corrupt }},
		{"other hash", func(_ *Book, f *fake) {
			f.pairs["pairs/"+f.rows[0].ID].ResponseMsg.BodyHash = strings.Repeat("0", 32)
		}, func(a *Account) uint64 { return a.Corrupt }},
		{"cut and not marked", func(_ *Book, f *fake) { f.bodies["pairs/"+f.rows[0].ID+"/response/body"] = []byte("x") }, func(a *Account) uint64 { return a.Corrupt }},
		{"carried twice", func(b *Book, _ *fake) { b.Serve([16]byte{1, 1}, 200, Sum{}) }, func(a *Account) uint64 { return a.Corrupt }},
		{"a sum that does not hold", func(_ *Book, f *fake) { f.ledger.Holds = false }, func(a *Account) uint64 { return uint64(len(a.Wrong)) }},
		{"parts that are more", func(_ *Book, f *fake) { f.ledger.Total.Sampled = 1 }, func(a *Account) uint64 { return uint64(len(a.Wrong)) }},
		{"in flight for ever", func(_ *Book, f *fake) {
			f.ledger.Total.Seen, f.ledger.Total.InFlight = 3, 1
		}, func(a *Account) uint64 { return uint64(len(a.Wrong)) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, f := truth()
			tc.edit(b, f)
			a, err := b.Account(t.Context(), f.serve(t), Rules{})
			if err != nil {
				t.Fatal(err)
			}
			if tc.want == nil {
				if !a.OK() {
					t.Fatalf("found a difference where there is none: %v", a)
				}
				return
			}
			if a.OK() || tc.want(a) == 0 {
				t.Fatalf("not found: %v", a)
			}
		})
	}
}
