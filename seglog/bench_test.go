package seglog_test

import (
	"testing"

	"github.com/weir-capture/weir/seglog"
)

// BenchmarkAppend appends records of the size that 64 pairs have, from several
// goroutines, to a real disk.
func BenchmarkAppend(b *testing.B) {
	l, err := seglog.Open(b.TempDir(), seglog.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	r := seglog.Record{Head: make([]byte, 200), Body: make([]byte, 75_000)}
	b.SetBytes(int64(len(r.Head) + len(r.Body)))
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := l.Append(r); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkRecords reads them back.
func BenchmarkRecords(b *testing.B) {
	l, err := seglog.Open(b.TempDir(), seglog.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	r := seglog.Record{Head: make([]byte, 200), Body: make([]byte, 75_000)}
	const n = 200
	for range n {
		if _, err := l.Append(r); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(n * int64(len(r.Head)+len(r.Body)))
	for b.Loop() {
		for _, err := range l.Records(0) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}
