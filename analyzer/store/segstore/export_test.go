package segstore

import "time"

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
