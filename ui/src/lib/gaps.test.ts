import { describe, expect, test } from 'vitest';
import type { Histogram, LedgerGap } from '../api/types';
import { edgesOf, placeGaps, sampledStretches, spanOf, stretchOf } from './gaps';

const origin = Date.UTC(2026, 10, 23, 12);
const at = (seconds: number) => new Date(origin + seconds * 1000).toISOString();
const classes = (n: number) => ({ '1xx': 0, '2xx': n, '3xx': 0, '4xx': 0, '5xx': 0, none: 0 });

/** Ten bars of ten seconds. */
const chart: Histogram = {
  from: at(0),
  to: at(100),
  step_ns: 1e10,
  total: 0,
  estimated_total: 0,
  sampled: false,
  partial: false,
  buckets: Array.from({ length: 10 }, (_, i) => ({ time: at(i * 10), counts: classes(0), estimated: classes(0) })),
};

const gap = (from: number, to: number, change: Partial<LedgerGap> = {}): LedgerGap => ({
  from: at(from), to: at(to), cluster: '', namespace: '', app: 'shop', proxy_id: 'shop-1', epoch: 'e', hop: 'proxy', reason: 'memory', text: '', pairs: 1, bound: 'exact', ...change,
});

describe('the bars that a gap touches', () => {
  test.each<[string, number, number, [number, number] | null]>([
    ['within one bar', 12, 18, [1, 2]],
    ['from edge to edge', 10, 30, [1, 3]],
    ['over an edge by a little', 19.999, 20.001, [1, 3]],
    ['a moment', 15, 15, [1, 2]],
    ['a moment on an edge is the bar that begins there', 20, 20, [2, 3]],
    ['the first moment of the chart', 0, 0, [0, 1]],
    ['cut at the left', -50, 5, [0, 1]],
    ['cut at the right', 95, 500, [9, 10]],
    ['around all of it', -50, 500, [0, 10]],
    ['ends where the chart begins', -20, 0, null],
    ['before the chart', -50, -20, null],
    ['begins where the chart ends', 100, 120, null],
    ['a moment at the end of the chart', 100, 100, null],
  ])('%s', (_, from, to, want) => {
    const stretch = stretchOf(chart, at(from), at(to));
    expect(stretch && [stretch.first, stretch.end]).toEqual(want);
  });

  test('times that are none place nothing', () => {
    expect(stretchOf(chart, '', at(5))).toBeNull();
    expect(stretchOf({ ...chart, step_ns: 0 }, at(0), at(5))).toBeNull();
    expect(stretchOf({ ...chart, buckets: [] }, at(0), at(5))).toBeNull();
  });

  test('nanoseconds count: an edge is an edge', () => {
    expect(stretchOf(chart, '2026-11-23T12:00:10.000000000Z', '2026-11-23T12:00:20.000000Z')).toEqual({ first: 1, end: 2 });
  });
});

describe('marks', () => {
  test('gaps in the same bars share one, and add up', () => {
    const marks = placeGaps([gap(42, 48, { pairs: 5 }), gap(12, 18, { pairs: 3 }), gap(15, 33, { pairs: 4, bound: 'at_most' })], chart);
    expect(marks.map(({ first, end, pairs, atMost }) => [first, end, pairs, atMost])).toEqual([[1, 4, 7, true], [4, 5, 5, false]]);
    expect(marks[0]?.gaps.map((g) => g.pairs)).toEqual([3, 4]);
  });

  test('those too near to be told apart share one, and keep their own stretches', () => {
    const marks = placeGaps([gap(10, 20), gap(40, 50)], chart, 4);
    expect(marks).toHaveLength(1);
    expect(marks[0]?.stretches).toEqual([{ first: 1, end: 2 }, { first: 4, end: 5 }]);
    expect(placeGaps([gap(10, 20), gap(40, 50)], chart, 3)).toHaveLength(2);
  });

  test('nothing lost is no gap; a death that may have lost nothing is one', () => {
    expect(placeGaps([gap(10, 20, { pairs: 0 })], chart)).toEqual([]);
    expect(placeGaps([gap(10, 20, { pairs: 0, bound: 'at_most' })], chart)).toHaveLength(1);
  });

  test('what lies outside of the chart has none', () => {
    expect(placeGaps([gap(-20, -10), gap(200, 300)], chart)).toEqual([]);
  });

  test('where they are drawn', () => {
    expect(edgesOf(chart, { first: 2, end: 5 })).toEqual({ left: 20, right: 50 });
    expect(edgesOf(chart, { first: 9, end: 10 })).toEqual({ left: 90, right: 100 });
    // The first bar may begin before the range, and the last one end behind it.
    expect(edgesOf({ ...chart, from: at(5), to: at(95) }, { first: 0, end: 10 })).toEqual({ left: 0, right: 100 });
  });

  test('the span of several', () => {
    expect(spanOf([gap(30, 40), gap(10, 60), gap(20, 25)])).toEqual({ from: at(10), to: at(60) });
  });
});

test('bars with estimates, as stretches', () => {
  const buckets = chart.buckets.map((b, i) => ([2, 3, 7].includes(i) ? { ...b, estimated: classes(10) } : b));
  expect(sampledStretches({ ...chart, buckets })).toEqual([{ first: 2, end: 4 }, { first: 7, end: 8 }]);
  expect(sampledStretches(chart)).toEqual([]);
});
