package segstore

import (
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/weir-capture/weir/internal/vfs/faultfs"
)

// journalFile is a journal that an earlier build wrote: a deletion that is done,
// one of a day, and one that a crash cut short. It is never written again.
var journalFile = filepath.Join("testdata", "deletions-1.json")

func sampleJournal() []*journalEntry {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	return []*journalEntry{
		{
			Deleted: Deleted{
				ID: "6a6b1a2e-4d5f-4c3b-9e1d-0a1b2c3d4e5f", Time: at.UnixNano(), By: "ada", Query: "app:checkout path:/pay*", To: 1 << 62,
				Matched: 3, Deleted: 3, Bytes: 4096, SegmentsRewritten: 1,
				Proof: Proof{
					Pairs: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", Verified: at.Add(time.Second), Unreadable: 1,
					Segments: []ProofSegment{{Name: "0000000000000000.seg", Before: "aa", After: "bb", Pairs: 3}},
				},
			},
			Expression: `(app:checkout path:/pay*) namespace:shop`, Done: true,
		},
		{
			Deleted: Deleted{
				ID: "d8b1a4c2-0000-4000-8000-000000000001", Time: at.UnixNano(), By: "grace", Query: "day 2026-11-20", Matched: 20, Deleted: 20, Bytes: 1 << 20,
				Proof: Proof{Verified: at, Keys: []uint16{7}},
			},
			Done: true,
		},
		{
			Deleted:    Deleted{ID: "11111111-2222-4333-8444-555555555555", Time: at.UnixNano(), Query: "status:5xx", From: 1, To: 2, Matched: 9},
			Expression: "status:5xx", Open: []uint64{0, 4096},
		},
	}
}

func TestJournalOfFormat1(t *testing.T) {
	b, err := os.ReadFile(journalFile)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeJournal(b)
	if err != nil || !reflect.DeepEqual(got, sampleJournal()) {
		t.Fatalf("%v\n got %+v\nwant %+v", err, got, sampleJournal())
	}
	// One of the two files is enough; what is damaged is kept beside.
	for _, bad := range []string{deletionsName, deletionsCopy} {
		d := faultfs.New()
		d.Put(deletionsName, b)
		d.Put(deletionsCopy, b)
		spoilt := append([]byte(nil), b...)
		spoilt[len(spoilt)/2] ^= 1
		d.Put(bad, spoilt)
		j, err := openJournal(d, slog.New(slog.DiscardHandler))
		if err != nil || len(j.open()) != 1 || len(j.list()) != 2 || d.Get(bad+damagedName) == nil {
			t.Errorf("%s: %+v %v", bad, j, err)
		}
	}
}

// FuzzJournal: what can be read is written again as the same.
func FuzzJournal(f *testing.F) {
	b, err := os.ReadFile(journalFile)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[9:])
	f.Add([]byte("[]"))
	f.Add([]byte("[null]"))
	f.Add([]byte(`[{"id":"x"}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = decodeJournal(b)
		// The checksum would keep out everything else.
		entries, err := decodeJournal(append(fmt.Appendf(nil, "%08x\n", crc32.Checksum(b, castagnoli)), b...))
		if err != nil {
			return
		}
		again, err := encodeJournal(entries)
		if err != nil {
			t.Fatal(err)
		}
		same, err := decodeJournal(again)
		if err != nil || len(same) != len(entries) {
			t.Fatalf("%v: %s", err, again)
		}
		if twice, err := encodeJournal(same); err != nil || string(twice) != string(again) {
			t.Errorf("%v\n%s\n%s", err, again, twice)
		}
	})
}
