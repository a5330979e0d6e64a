package analyzer

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/weir-capture/weir/internal/backoff"
)

const (
	// brakeAfter is how many records in a row may be refused, with none taken
	// in between, before that looks like trouble of the analyzer's and not of
	// theirs.
	brakeAfter = 3
	// What is tried then are single records, so far apart.
	brakeMin, brakeMax = time.Second, time.Minute
)

// brake keeps an analyzer that refuses everything from having the whole spool
// declared lost. Once it has refused brakeAfter records in a row nothing more
// is declared: one record at a time is tried, another each time, with longer
// and longer pauses, until one is taken. Then what was refused meanwhile is
// sent once more, and declared at once if it is refused again.
type brake struct {
	mu   sync.Mutex
	wait backoff.Backoff
	row  int
	// held are refused records that are tried again when there are no others,
	// or one of those was taken.
	held spans
	// again were held, and then another record was taken.
	again spans
	why   string
}

func newBrake(rand func() float64) *brake {
	return &brake{wait: backoff.Backoff{Min: brakeMin, Max: brakeMax, Rand: rand}}
}

// refused notes that what stands at s was refused; record: it was a record
// itself, and not what is declared of it. hold says that s is held.
func (b *brake) refused(s span, record bool) (hold bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if record && !b.again.covers(s) {
		b.row++
	}
	if b.row < brakeAfter {
		return false
	}
	b.held.add(s)
	return true
}

// on says whether nothing more is declared.
func (b *brake) on() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.row >= brakeAfter
}

// taken notes that a record was taken. released: the brake was on.
func (b *brake) taken() (released bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	released = b.row >= brakeAfter
	for _, s := range b.held {
		b.again.add(s)
	}
	b.row, b.held, b.why = 0, nil, ""
	b.wait.Reset()
	return released
}

// besides is done with what is held.
func (b *brake) besides(done spans) spans {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.again.forget(done.low())
	known := slices.Clone(done)
	for _, s := range b.held {
		known.add(s)
	}
	return known
}

// anew lets what is held be tried again, because there are no others; false
// when nothing is held.
func (b *brake) anew() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	is := len(b.held) > 0
	b.held = nil
	return is
}

// pause says how long to wait, and keeps why for people to see.
func (b *brake) pause(err error) (time.Duration, int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.why = fmt.Sprintf("it has refused %d records in a row: no more of them is declared lost, and it is tried now and then: %v", b.row, err)
	return b.wait.Next(), b.row
}

// trouble is what pause has kept, until a record is taken.
func (b *brake) trouble() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.why
}

// slowDown says that the analyzer refuses everything, and how long to leave it
// alone.
func (e *Exporter) slowDown(err error) time.Duration {
	wait, row := e.brake.pause(err)
	e.set.Log.Error("The analyzer refuses one record after another; they stay in the spool and it is tried slowly",
		e.attrs(slog.String("addr", e.set.Addr), slog.Int("refused", row), slog.Duration("wait", wait), slog.String("error", err.Error()))...)
	return wait
}

// tookRecord notes that the analyzer takes records.
func (e *Exporter) tookRecord() {
	if e.brake.taken() {
		e.set.Log.Info("The analyzer takes records again", e.attrs(slog.String("addr", e.set.Addr))...)
	}
}
