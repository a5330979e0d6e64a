package interchange

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/parquet-go/parquet-go"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// TestParquet reads the rows back; that other programs find the right types in
// them is a test of analyzer.
func TestParquet(t *testing.T) {
	pairs := odd()
	file, left := write(t, Parquet, pairs...)
	if left != 0 {
		t.Errorf("%d left out", left)
	}
	rows, err := parquet.Read[parquetRow](bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(pairs) {
		t.Fatalf("%d rows, want %d", len(rows), len(pairs))
	}
	for i, p := range pairs {
		r := rows[i]
		if !bytes.Equal(r.ID[:], p.GetId()) || r.Time != p.GetTiming().GetRequestFirst() || r.Path != p.GetPath() || r.Endpoint != "/e" || r.Status != p.GetStatus() ||
			!bytes.Equal(r.RequestHead, p.GetRequest().GetHead()) || !bytes.Equal(r.ResponseBody, p.GetResponse().GetBody()) ||
			len(r.Flags) != len(p.GetFlags()) || len(r.Tags) != len(p.GetTags()) || (r.ResponseLast == nil) != (p.GetTiming().GetResponseLast() == 0) {
			t.Errorf("row %d: %+v", i, r)
		}
	}
}

// TestParquetHoldsARowGroup: what is not yet written is bounded.
func TestParquetHoldsARowGroup(t *testing.T) {
	var b bytes.Buffer
	w, err := NewWriter(Parquet, &b, "v1")
	if err != nil {
		t.Fatal(err)
	}
	p := exchange(1)
	p.Response.Body = make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{3}).Read(p.GetResponse().GetBody()) // never fails
	for range 40 {
		if err := w.Write(Pair{RRPair: p}); err != nil {
			t.Fatal(err)
		}
	}
	if b.Len() == 0 {
		t.Error("40 MiB were written, and nothing left the writer")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := parquet.OpenFile(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil || len(f.RowGroups()) < 2 || f.NumRows() != 40 {
		t.Errorf("%v", err)
	}
}

// TestParquetHasBodiesOnce: what cannot be compressed takes its own length.
func TestParquetHasBodiesOnce(t *testing.T) {
	rng := rand.NewChaCha8([32]byte{2})
	var pairs []*capturev1.RRPair
	size := 0
	for i := range 50 {
		p := exchange(i)
		body := make([]byte, 48<<10)
		_, _ = rng.Read(body) // never fails
		p.Response.Body = body
		size += len(body)
		pairs = append(pairs, p)
	}
	if file, _ := write(t, Parquet, pairs...); len(file) > size+size/20 {
		t.Errorf("%d bytes of bodies became %d", size, len(file))
	}
}
