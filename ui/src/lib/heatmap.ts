import type { HeatmapCounts } from '../api/types';
import { formatDuration } from './format';
import { parseMs } from './time';

/** A part of a heatmap: from `from` on, before `to` (RFC 3339); from `min` nanoseconds on, below `max`. */
export interface Box {
  from: string;
  to: string;
  min: number;
  max: number;
}

/** The same in cells: columns and bands, all four included. */
export interface Cells {
  left: number;
  right: number;
  low: number;
  high: number;
}

/** No 64-bit duration is longer: a band that ends there has no end. */
const endless = 2 ** 63;

/** The query for durations of a box. */
export function durationClause({ min, max }: Pick<Box, 'min' | 'max'>): string {
  return max >= endless ? `duration:>=${BigInt(min)}ns` : `duration:${BigInt(min)}ns..${BigInt(max) - 1n}ns`;
}

/** "100 ms – 1.0 s" */
export function durationsText({ min, max }: Pick<Box, 'min' | 'max'>): string {
  return max >= endless ? `${formatDuration(min)} or longer` : `${formatDuration(min)} – ${formatDuration(max)}`;
}

export function boxOf(counts: HeatmapCounts, { left, right, low, high }: Cells): Box | null {
  const from = counts.columns[left];
  const bands = [counts.bands[low], counts.bands[high]] as const;
  if (!from || !bands[0] || !bands[1]) return null;
  return { from: from.time, to: counts.columns[right + 1]?.time ?? counts.to, min: bands[0].from_ns, max: bands[1].to_ns };
}

/** The cells of a box, as far as there are any: the picture may have gone on since it was drawn. */
export function cellsOf(counts: HeatmapCounts, box: Box): Cells | null {
  const from = parseMs(box.from);
  const to = parseMs(box.to);
  const times = counts.columns.map((c) => parseMs(c.time));
  const step = counts.step_ns / 1e6;
  const left = times.findIndex((t) => t + step > from);
  const right = times.findLastIndex((t) => t < to);
  const low = counts.bands.findIndex((b) => b.to_ns > box.min);
  const high = counts.bands.findLastIndex((b) => b.from_ns < box.max);
  return left < 0 || low < 0 || right < left || high < low ? null : { left, right, low, high };
}

/** What an address says is selected; null where that is nothing, or makes no sense. */
export function readBox(search: Partial<Record<'in_from' | 'in_to' | 'min' | 'max', string>>): Box | null {
  const box = { from: search.in_from ?? '', to: search.in_to ?? '', min: Number(search.min ?? NaN), max: Number(search.max ?? NaN) };
  const whole = (n: number) => Number.isInteger(n) && n >= 0 && n <= endless;
  return parseMs(box.from) < parseMs(box.to) && whole(box.min) && whole(box.max) && box.min < box.max ? box : null;
}

export const writeBox = (box: Box | null): Record<'in_from' | 'in_to' | 'min' | 'max', string | undefined> => ({
  in_from: box?.from,
  in_to: box?.to,
  min: box ? String(BigInt(box.min)) : undefined,
  max: box ? String(BigInt(box.max)) : undefined,
});

export const cellsBetween = (a: { x: number; y: number }, b: { x: number; y: number }): Cells => ({
  left: Math.min(a.x, b.x),
  right: Math.max(a.x, b.x),
  low: Math.min(a.y, b.y),
  high: Math.max(a.y, b.y),
});

/** How many exchanges are in cells. */
export function countIn(counts: HeatmapCounts, { left, right, low, high }: Cells): number {
  let n = 0;
  for (const column of counts.columns.slice(left, right + 1)) for (const c of column.counts.slice(low, high + 1)) n += c;
  return n;
}

export const mostIn = (counts: HeatmapCounts): number => counts.columns.reduce((most, column) => column.counts.reduce((a, b) => Math.max(a, b), most), 0);

/** Where a duration lies among the bands, from 0 below all to their number; null where it is outside. */
export function placeOf(counts: HeatmapCounts, ns: number): number | null {
  const at = counts.bands.findIndex((b) => ns >= b.from_ns && ns < b.to_ns);
  const band = counts.bands[at];
  if (!band) return null;
  return at + (ns - band.from_ns) / (band.to_ns - band.from_ns);
}

/** Powers of ten among the bands: what the axis names, and the summary has a line for. */
export function decades(counts: HeatmapCounts): number[] {
  const first = counts.bands[0];
  const last = counts.bands.at(-1);
  const out: number[] = [];
  if (first && last) for (let d = 1; d < last.to_ns && out.length < 20; d *= 10) if (d > first.from_ns) out.push(d);
  return out;
}

export interface Stretch {
  low: number;
  high: number;
  min: number;
  max: number;
  pairs: number;
}

/** The picture in words: exchanges by power of ten, along the bounds of bands, the slowest first. */
export function stretches(counts: HeatmapCounts): Stretch[] {
  const last = counts.bands.length - 1;
  if (last < 0) return [];
  const starts = [0, ...decades(counts).map((d) => counts.bands.findIndex((b) => b.to_ns > d)).filter((at) => at > 0)];
  return [...new Set(starts)]
    .map((low, i, all) => {
      const high = (all[i + 1] ?? last + 1) - 1;
      const pairs = countIn(counts, { left: 0, right: counts.columns.length - 1, low, high });
      return { low, high, min: counts.bands[low]?.from_ns ?? 0, max: counts.bands[high]?.to_ns ?? 0, pairs };
    })
    .toReversed();
}
