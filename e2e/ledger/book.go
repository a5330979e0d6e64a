package ledger

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/zeebo/xxh3"
)

// Book is the oracle's memory of a long run: what Call and Served are for a
// short one, in a fixed number of bytes for each request, so that a million of
// them fit. It may be written to from several goroutines.
type Book struct {
	mu      sync.Mutex
	entries []Entry
	served  map[[16]byte]ServedEntry
	errors  map[string]int
}

// maxErrors bounds the different texts that a Book keeps of what went wrong.
const maxErrors = 20

// Entry is one request as its client saw it.
type Entry struct {
	ID [16]byte
	// When it was sent, and when its response was whole or given up. Unix
	// nanoseconds.
	Sent, Done int64
	Out, In    Sum
	Status     int16
	Outcome    Outcome
	// Redacted: it had secrets, so that its bodies are not kept as they were.
	Redacted bool
}

// Sum is a body of which only this is remembered.
type Sum struct {
	Size int64
	XXH3 [16]byte
}

// SumOf makes one; that of no bytes is zero.
func SumOf(p []byte) (s Sum) {
	if len(p) > 0 {
		s.Size, s.XXH3 = int64(len(p)), xxh3.Hash128(p).Bytes()
	}
	return s
}

// Outcome is how a request ended for its client.
type Outcome uint8

// Outcomes.
const (
	// Completed: the response came, whole and as it should be.
	Completed Outcome = iota
	// Failed: it was sent, and no whole response came, or a wrong one.
	Failed
	// Aborted: the client broke it off on purpose.
	Aborted
	// Refused: no connection could be made, so that nothing was sent.
	Refused
)

// ServedEntry is one request as its server saw it.
type ServedEntry struct {
	Times  uint16
	Status int16
	In     Sum
}

// NewBook makes an empty one.
func NewBook() *Book {
	return &Book{served: map[[16]byte]ServedEntry{}, errors: map[string]int{}}
}

// Add writes down one request, and why it failed.
func (b *Book) Add(e Entry, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entries = append(b.entries, e)
	if err != nil {
		text := err.Error()
		if _, known := b.errors[text]; !known && len(b.errors) >= maxErrors {
			text = "others"
		}
		b.errors[text]++
	}
}

// Serve writes down that a server saw a request.
func (b *Book) Serve(id [16]byte, status int16, in Sum) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.served[id] = ServedEntry{b.served[id].Times + 1, status, in}
}

// Entries is what was written down so far.
func (b *Book) Entries() []Entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]Entry(nil), b.entries...)
}

// Count is how many requests ended so.
func (b *Book) Count(o Outcome) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.entries {
		if b.entries[i].Outcome == o {
			n++
		}
	}
	return n
}

// Errors is what went wrong, and how often.
func (b *Book) Errors() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return fmt.Sprint(b.errors)
}

// Noise is n bytes that belong to one request: its response with side 0, its
// body with side 1. No compression shrinks them, and nobody else's are the
// same.
func Noise(id [16]byte, side byte, n int) []byte {
	if n == 0 {
		return nil
	}
	var seed [32]byte
	copy(seed[:], id[:])
	seed[16] = side
	p := make([]byte, n)
	_, _ = rand.NewChaCha8(seed).Read(p) // never fails
	return p
}

// parseID reads the id that FindID found.
func parseID(s string) (id [16]byte, ok bool) {
	n, err := hex.Decode(id[:], []byte(s))
	return id, err == nil && n == len(id)
}
