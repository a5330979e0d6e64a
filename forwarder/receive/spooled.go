package receive

import (
	"errors"
	"iter"
	"log/slog"

	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/internal/lograte"
	"github.com/weir-capture/weir/seglog"
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
		notes, _, err := frame.Condense(heads, ReasonSpoolFull)
		if errors.Is(err, frame.ErrMalformed) {
			// What they stood for shows as holes in the sequences of its
			// proxies.
			repeated.Log(slog.LevelError, "Records of the spool that nobody can read are dropped with its oldest pairs", slog.String("error", err.Error()))
			err = nil
		}
		if err != nil {
			return nil, err
		}
		records := make([]seglog.Record, len(notes))
		for i, head := range notes {
			records[i].Head = head
		}
		return records, nil
	}
}
