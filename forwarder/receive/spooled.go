package receive

import (
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"

	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/internal/lograte"
	"github.com/weir-capture/weir/seglog"
	"github.com/weir-capture/weir/spool"
)

// Pairs is how many pairs a record of the spool holds, for spool.Options.Count.
func Pairs(head []byte) uint64 {
	h, err := frame.Head(head)
	if err != nil {
		return 0
	}
	return uint64(h.GetPairs())
}

// Condense makes what declares the records that a spool is about to lose, for
// spool.Options.Condense.
func Condense(repeated *lograte.Logger) func(heads iter.Seq[[]byte]) ([]seglog.Record, error) {
	return func(heads iter.Seq[[]byte]) ([]seglog.Record, error) {
		notes, _, err := frame.Condense(heads, frame.ReasonSpoolFull)
		if errors.Is(err, frame.ErrMalformed) {
			// What they stood for shows as holes in the sequences of its
			// proxies.
			repeated.Log(slog.LevelError, "Records of the spool that nobody can read are dropped with its oldest pairs", slog.String("error", err.Error()))
			err = nil
		}
		if err != nil {
			return nil, err
		}
		return noteRecords(notes), nil
	}
}

func noteRecords(notes [][]byte) []seglog.Record {
	records := make([]seglog.Record, len(notes))
	for i, head := range notes {
		records[i].Head = head
	}
	return records
}

// DeclareCut declares, durably, what stood at the end of a log that was not
// closed and could not be read, as far as its heads tell: nobody knows whether
// it was damaged, or was never finished and acknowledged. It goes by the former
// and leaves the latter open: what is declared so does not count as accepted,
// and who sends it again takes the declaration back. It returns the pairs that
// were declared.
func DeclareCut(s *spool.Spool) (pairs uint64, err error) {
	notes, pairs, err := frame.Condense(slices.Values(s.Log().Recovery().CutHeads), frame.ReasonSpoolDamaged)
	if err != nil && !errors.Is(err, frame.ErrMalformed) || len(notes) == 0 {
		return 0, err
	}
	if _, aerr := s.AppendNotes(noteRecords(notes)...); aerr != nil {
		return 0, fmt.Errorf("declare %d pairs: %w", pairs, aerr)
	}
	return pairs, err
}
