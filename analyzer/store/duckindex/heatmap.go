package duckindex

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/analyzer/store/sums"
)

// Heatmap implements index.Index.
func (x *Index) Heatmap(ctx context.Context, h index.Heatmap) (*store.HeatmapCounts, error) {
	return kept(ctx, x, fmt.Sprintf("heatmap %d %d", h.Step, h.Count), h.Sum, cloneHeatmap,
		func(c *store.HeatmapCounts) bool { return c.Partial == nil },
		func(ctx context.Context) (*store.HeatmapCounts, error) { return x.heatmap(ctx, h) })
}

func (x *Index) heatmap(ctx context.Context, h index.Heatmap) (*store.HeatmapCounts, error) {
	out := &store.HeatmapCounts{Step: h.Step}
	cells := map[sums.HeatmapCell]uint64{}
	partial, err := x.analytic(ctx, func(ctx context.Context) error {
		from, args := source(h.Sum, colTime, colBucket, colWeight)
		stmt := `SELECT ("time" - ?) // ? AS step, "bucket", count(*), max("weight") > 1 FROM ` + from + ` GROUP BY step, "bucket"`
		return x.each(ctx, stmt, append([]any{h.From, h.Step}, args...), func(rows *sql.Rows) error {
			var step int64
			var bucket int16
			var n uint64
			var sampled bool
			if err := rows.Scan(&step, &bucket, &n, &sampled); err != nil {
				return err
			}
			if step < 0 || step >= int64(h.Count) {
				return fmt.Errorf("step %d of %d", step, h.Count)
			}
			out.Pairs += n
			out.Sampled = out.Sampled || sampled
			if bucket < 0 {
				out.Absent += n
				return nil
			}
			cells[sums.HeatmapCell{Step: int(step), Band: index.BandOf(bucket)}] += n
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("count durations: %w", err)
	}
	sums.Spread(out, h.Count, cells)
	out.Partial = partial
	return out, nil
}
