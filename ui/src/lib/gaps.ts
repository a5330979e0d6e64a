import type { Histogram, LedgerGap } from '../api/types';
import { parseMs } from './time';

/** A stretch of a chart's bars, [first, end). */
export interface Stretch {
  first: number;
  end: number;
}

/** Gaps that share a mark because they lie in the same bars, or too close to be told apart. */
export interface GapMark extends Stretch {
  /** What is hatched: the bars in which something was lost. */
  stretches: Stretch[];
  /** Oldest first. */
  gaps: LedgerGap[];
  pairs: number;
  /** Some of the pairs are an upper bound. */
  atMost: boolean;
}

/** The bars of a chart: where each begins, and how wide they are. */
export interface Axis {
  from: string;
  to: string;
  step_ns: number;
  buckets: readonly { time: string }[];
}

/**
 * The bars that [from, to) touches, or null where it is outside of the chart.
 * A moment touches the bar that it is in; one on an edge, the bar that begins
 * there. What sticks out of the chart is cut.
 */
export function stretchOf(chart: Axis, from: string, to: string): Stretch | null {
  const count = chart.buckets.length;
  const start = parseMs(chart.buckets[0]?.time);
  const step = chart.step_ns / 1e6;
  const begin = (parseMs(from) - start) / step;
  const stop = (parseMs(to) - start) / step;
  if (!(step > 0) || Number.isNaN(begin) || Number.isNaN(stop)) return null;
  const first = Math.floor(begin);
  const end = Math.max(first + 1, Math.ceil(stop));
  if (end <= 0 || first >= count) return null;
  return { first: Math.max(0, first), end: Math.min(count, end) };
}

/**
 * The marks of a chart, oldest first. Gaps in the same bars share one, as do
 * those with fewer than `apart` bars between their middles: a mark must be
 * wide enough to be seen and hit.
 */
export function placeGaps(gaps: readonly LedgerGap[], chart: Axis, apart = 0): GapMark[] {
  const placed = gaps
    .map((gap) => ({ gap, at: stretchOf(chart, gap.from, gap.to) }))
    .filter((p): p is { gap: LedgerGap; at: Stretch } => p.at !== null && (p.gap.pairs > 0 || p.gap.bound === 'at_most'))
    .toSorted((a, b) => a.at.first - b.at.first || a.at.end - b.at.end);
  const marks: GapMark[] = [];
  for (const { gap, at } of placed) {
    const last = marks.at(-1);
    if (last && (at.first < last.end || middle(at) - middle(last) < apart)) {
      last.gaps.push(gap);
      const open = last.stretches.at(-1) as Stretch;
      if (at.first <= open.end) open.end = Math.max(open.end, at.end);
      else last.stretches.push(at);
      last.end = Math.max(last.end, at.end);
      last.pairs += gap.pairs;
      last.atMost ||= gap.bound === 'at_most';
    } else {
      marks.push({ ...at, stretches: [{ ...at }], gaps: [gap], pairs: gap.pairs, atMost: gap.bound === 'at_most' });
    }
  }
  for (const mark of marks) mark.gaps.sort((a, b) => parseMs(a.from) - parseMs(b.from));
  return marks;
}

function middle({ first, end }: Stretch): number {
  return (first + end) / 2;
}

/** The bars whose counts are estimates, as stretches. */
export function sampledStretches(chart: Histogram): Stretch[] {
  const out: Stretch[] = [];
  chart.buckets.forEach((bucket, i) => {
    const estimated = Object.entries(bucket.estimated).some(([name, n]) => n !== bucket.counts[name as keyof typeof bucket.counts]);
    if (!estimated) return;
    const open = out.at(-1);
    if (open && open.end === i) open.end = i + 1;
    else out.push({ first: i, end: i + 1 });
  });
  return out;
}

/** The first and the last moment of some gaps. */
export function spanOf(gaps: readonly LedgerGap[]): { from: string; to: string } {
  const from = gaps.reduce((a, b) => (parseMs(b.from) < parseMs(a.from) ? b : a)).from;
  const to = gaps.reduce((a, b) => (parseMs(b.to) > parseMs(a.to) ? b : a)).to;
  return { from, to };
}

/** Where a stretch lies on its chart, in percent of the chart's width. */
export function edgesOf({ buckets, from, to }: Axis, { first, end }: Stretch): { left: number; right: number } {
  const start = parseMs(from);
  const share = (time: string | undefined) => Math.min(100, Math.max(0, ((parseMs(time) - start) / (parseMs(to) - start)) * 100));
  return { left: share(buckets[first]?.time), right: end < buckets.length ? share(buckets[end]?.time) : 100 };
}
