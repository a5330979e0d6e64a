package segstore

import (
	"time"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/seglog"
)

// EncodeMeta is a META.json of any format.
func EncodeMeta(format int, engine, id string) []byte {
	b, err := encodeMeta(meta{Format: format, Engine: engine, Store: id, Created: time.Unix(1, 0).UTC()})
	if err != nil {
		panic(err)
	}
	return b
}

// Retained is how often retention has looked.
func (s *Store) Retained() int64 { return s.looks.Load() }

// Everything is each pair that can be read of the log, past the index.
func (s *Store) Everything() ([]*capturev1.RRPair, error) {
	var out []*capturev1.RRPair
	for e, err := range s.seglog.Records(s.seglog.Oldest()) {
		if seglog.IsDamage(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		d, err := openRecord(e.Offset, e.Head, e.Body)
		if err != nil {
			return nil, err
		}
		for _, st := range d.pairs {
			out = append(out, st.Pair)
		}
	}
	return out, nil
}

// MountPoint is mountPoint.
func MountPoint(dir string) (bool, error) { return mountPoint(dir) }
