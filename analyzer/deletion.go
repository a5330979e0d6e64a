package analyzer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/weir-capture/weir/analyzer/store/segstore"
	"github.com/weir-capture/weir/analyzer/web"
)

// deleter is the store's deletion as the API asks for it.
type deleter struct{ store *segstore.Store }

// Delete implements web.Deleter.
func (d deleter) Delete(ctx context.Context, ask web.DeletionAsk) (web.Deleted, error) {
	done, err := d.store.Delete(ctx, segstore.Deletion{
		Query: ask.Query, Words: ask.Words, From: ask.From, To: ask.To, DryRun: ask.DryRun, Most: ask.Most, By: ask.By,
	})
	return deletedOr(done, err)
}

// Shred implements web.Deleter.
func (d deleter) Shred(ctx context.Context, ask web.ShreddingAsk) (web.Deleted, error) {
	done, err := d.store.Shred(ctx, segstore.Shredding{Day: ask.Day, DryRun: ask.DryRun, Most: ask.Most, By: ask.By})
	if errors.Is(err, segstore.ErrNotEncrypted) {
		return web.Deleted{}, web.ErrNoKey
	}
	return deletedOr(done, err)
}

func deletedOr(done *segstore.Deleted, err error) (web.Deleted, error) {
	if tooMany, ok := errors.AsType[*segstore.TooManyError](err); ok {
		return web.Deleted{Matched: tooMany.Matched}, web.ErrTooMany
	}
	if errors.Is(err, segstore.ErrDeleting) {
		return web.Deleted{}, web.ErrDeleting
	}
	if err != nil {
		return web.Deleted{}, fmt.Errorf("delete pairs: %w", err)
	}
	return deleted(*done)
}

// Deletions implements web.Deleter.
func (d deleter) Deletions(context.Context) ([]web.Deleted, error) {
	var out []web.Deleted
	for _, made := range d.store.Deletions() {
		w, err := deleted(made)
		if err != nil {
			return nil, err
		}
		out = append(out, w)
	}
	return out, nil
}

func deleted(d segstore.Deleted) (web.Deleted, error) {
	out := web.Deleted{
		ID: d.ID, Time: d.Time, By: d.By, Query: d.Query, DryRun: d.DryRun,
		Matched: d.Matched, Deleted: d.Deleted, Bytes: d.Bytes, Segments: d.SegmentsRewritten,
	}
	if d.DryRun {
		return out, nil
	}
	proof, err := json.Marshal(d.Proof)
	if err != nil {
		return out, fmt.Errorf("write proof of deletion: %w", err)
	}
	out.Proof = string(proof)
	return out, nil
}
