import type { Histogram, HistogramBucket } from '../api/types';
import { statusClass } from '../lib/status';
import { formatNs, parseMs, parseNs } from '../lib/time';

/** Buckets of the histogram; a bar is then about 8 px wide on a small screen. */
export const chartBuckets = 120;
/** As far as a chart grows by live rows before it is asked for again. */
const mostBuckets = 3 * chartBuckets;

/** What a chart needs to know of a pair. */
export interface Counted {
  ms: number;
  status: number;
  sample_weight: number;
}

/**
 * The chart with these pairs counted where they belong, as the analyzer would
 * count them. It moves on with the newest; where its range goes along with
 * time, it lets go of what the range has left behind.
 */
export function countIn(chart: Histogram, pairs: readonly Counted[], moves: boolean): Histogram {
  if (chart.buckets.length === 0 || chart.step_ns <= 0) return chart;
  const buckets = chart.buckets.map((b) => ({ ...b, counts: { ...b.counts }, estimated: { ...b.estimated } }));
  let { from, to, total, estimated_total, sampled } = chart;
  const step = chart.step_ns / 1e6;
  const start = parseMs(buckets[0]?.time);
  const before = buckets.length;
  for (const pair of pairs) {
    const at = Math.floor((pair.ms - start) / step);
    // A clock that is far ahead does not stretch the chart: the last bar has what it stamped.
    if (at < mostBuckets) {
      while (buckets.length <= at) buckets.push(after(buckets.at(-1) as HistogramBucket, chart.step_ns));
    }
    const bucket = buckets[Math.min(at, buckets.length - 1)];
    if (!bucket) continue;
    const name = statusClass(pair.status);
    const weight = Math.max(1, pair.sample_weight);
    bucket.counts[name]++;
    bucket.estimated[name] += weight;
    total++;
    estimated_total += weight;
    sampled ||= weight > 1;
  }
  const grown = buckets.length - before;
  if (grown > 0) {
    to = after(buckets.at(-1) as HistogramBucket, chart.step_ns).time;
    if (moves) {
      for (const gone of buckets.splice(0, grown)) {
        total -= sum(gone.counts);
        estimated_total -= sum(gone.estimated);
      }
      from = buckets[0]?.time ?? from;
    }
  }
  return { ...chart, buckets, from, to, total, estimated_total, sampled };
}

export interface Found {
  /** Rows newer than the bucket. */
  newer: number;
  count: number;
  /** The bucket's edges as the analyzer wrote them: rounded ones would miscount. */
  start: string;
  end: string;
}

/** The bucket that holds the row with this index, counted from the newest. */
export function bucketOf(histogram: Histogram, index: number): Found | null {
  const { buckets } = histogram;
  let newer = 0;
  for (let i = buckets.length - 1; i >= 0; i--) {
    const bucket = buckets[i];
    if (!bucket) continue;
    const count = sum(bucket.counts);
    if (count > 0 && index < newer + count) {
      return { newer, count, start: bucket.time, end: buckets[i + 1]?.time ?? histogram.to };
    }
    newer += count;
  }
  return null;
}

/** All classes of a bucket together. */
export function sum(counts: HistogramBucket['counts']): number {
  return Object.values(counts).reduce((a, b) => a + b, 0);
}

/** The bucket that follows, empty. */
function after(bucket: HistogramBucket, stepNs: number): HistogramBucket {
  return {
    time: formatNs((parseNs(bucket.time) ?? 0n) + BigInt(Math.round(stepNs))),
    counts: { none: 0, '1xx': 0, '2xx': 0, '3xx': 0, '4xx': 0, '5xx': 0 },
    estimated: { none: 0, '1xx': 0, '2xx': 0, '3xx': 0, '4xx': 0, '5xx': 0 },
  };
}
