package forwarder

import (
	"context"
	"fmt"
	"iter"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/internal/keyring"
	"github.com/weir-capture/weir/seglog"
	"github.com/weir-capture/weir/spool"
)

// SpoolPairs gives the pairs in the spool of a forwarder that does not run, and
// changes nothing. An error that seglog.IsDamage says is damage is of one
// record, and others follow; any other is the last. master reads what is
// encrypted; it may be nil.
func SpoolPairs(ctx context.Context, dir string, master *keyring.Master) iter.Seq2[*capturev1.RRPair, error] {
	return func(yield func(*capturev1.RRPair, error) bool) {
		for e, err := range spool.Read(ctx, dir, master) {
			var pairs []*capturev1.RRPair
			if err == nil {
				pairs, err = pairsOf(e)
			}
			if err != nil {
				if !yield(nil, err) || !seglog.IsDamage(err) {
					return
				}
				continue
			}
			for _, p := range pairs {
				if !yield(p, nil) {
					return
				}
			}
		}
	}
}

func pairsOf(e seglog.Entry) ([]*capturev1.RRPair, error) {
	head, err := frame.Head(e.Head)
	if err != nil {
		return nil, fmt.Errorf("read record at %d: %w", e.Offset, err)
	}
	if frame.IsLoss(head) || len(e.Body) == 0 {
		return nil, nil
	}
	pairs, err := frame.Pairs(head, e.Body)
	if err != nil {
		return nil, fmt.Errorf("read record at %d: %w", e.Offset, err)
	}
	return pairs, nil
}
