import { expect, test } from 'vitest';
import type { HeatmapCounts } from '../api/types';
import { boxOf, cellsBetween, cellsOf, countIn, decades, durationClause, durationsText, mostIn, placeOf, readBox, stretches, writeBox } from './heatmap';

/** Four steps of a second, bands of powers of two from 512 ns to 16 µs. */
const counts: HeatmapCounts = {
  from: '2026-11-24T04:00:00Z', to: '2026-11-24T04:00:04Z', step_ns: 1e9, pairs: 16, absent: 1, sampled: false, partial: false, partial_reason: '',
  bands: [512, 1024, 2048, 4096, 8192].map((from_ns) => ({ from_ns, to_ns: 2 * from_ns })),
  columns: [[1, 0, 0, 0, 0], [0, 2, 0, 0, 0], [0, 0, 3, 4, 0], [0, 0, 0, 0, 5]].map((list, i) => ({ time: `2026-11-24T04:00:0${i}Z`, counts: list })),
};

test('U26: a box is bounds of time and duration, and back', () => {
  const cells = cellsBetween({ x: 3, y: 2 }, { x: 2, y: 4 });
  expect(cells).toEqual({ left: 2, right: 3, low: 2, high: 4 });
  const box = boxOf(counts, cells);
  expect(box).toEqual({ from: '2026-11-24T04:00:02Z', to: '2026-11-24T04:00:04Z', min: 2048, max: 16384 });
  expect(cellsOf(counts, box!)).toEqual(cells);
  expect(countIn(counts, cells)).toBe(12);
  expect(mostIn(counts)).toBe(5);
  expect(durationClause(box!)).toBe('duration:2048ns..16383ns');
  expect(durationsText(box!)).toBe('2.0 µs – 16 µs');
  expect(boxOf(counts, { left: 9, right: 9, low: 0, high: 0 })).toBeNull();
  // The picture has gone on, or shows other durations: what is left of it.
  expect(cellsOf(counts, { ...box!, from: '2026-11-24T03:00:00Z', min: 0 })).toEqual({ left: 0, right: 3, low: 0, high: 4 });
  expect(cellsOf(counts, { ...box!, from: '2026-11-24T03:00:00Z', to: '2026-11-24T03:01:00Z' })).toBeNull();
  expect(cellsOf(counts, { ...box!, min: 1e9, max: 2e9 })).toBeNull();
});

test('U26: the longest durations have no end', () => {
  expect(durationClause({ min: 2 ** 62, max: 2 ** 63 })).toBe('duration:>=4611686018427387904ns');
  expect(durationsText({ min: 2 ** 62, max: 2 ** 63 })).toMatch(/or longer$/);
});

test('U26: what an address says is a box, or nothing', () => {
  const box = boxOf(counts, { left: 0, right: 0, low: 0, high: 4 });
  expect(readBox(writeBox(box) as Record<string, string>)).toEqual(box);
  expect(writeBox(null)).toEqual({ in_from: undefined, in_to: undefined, min: undefined, max: undefined });
  const good = { in_from: counts.from, in_to: counts.to, min: '1', max: '2' };
  expect(readBox(good)).not.toBeNull();
  for (const bad of [{ min: '2' }, { min: '-1' }, { min: 'x' }, { max: '1e30' }, { in_from: counts.to }, { in_to: 'soon' }, { max: undefined as unknown as string }, { min: '1.5' }]) {
    expect(readBox({ ...good, ...bad })).toBeNull();
  }
});

test('U26: the axis and the summary go by powers of ten', () => {
  expect(decades(counts)).toEqual([1000, 10_000]);
  expect(placeOf(counts, 1536)).toBe(1.5);
  expect(placeOf(counts, 1)).toBeNull();
  expect(stretches(counts).map(({ min, max, pairs }) => [min, max, pairs])).toEqual([[8192, 16384, 5], [512, 8192, 10]]);
  expect(stretches({ ...counts, bands: [], columns: [] })).toEqual([]);
});
