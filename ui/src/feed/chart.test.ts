import { expect, test } from 'vitest';
import type { Histogram } from '../api/types';
import { bucketOf, countIn } from './chart';
import { classes } from './fake';

const at = (second: number) => `2026-11-23T12:00:0${second}Z`;

function chart(...counts: number[]): Histogram {
  const total = counts.reduce((a, b) => a + b, 0);
  return {
    from: at(0),
    to: at(counts.length),
    step_ns: 1e9,
    total,
    estimated_total: total,
    sampled: false,
    partial: false,
    buckets: counts.map((n, i) => ({ time: at(i), counts: classes(n), estimated: classes(n) })),
  };
}

const pair = (second: number, sample_weight = 1) => ({ ms: Date.parse(at(0)) + second * 1000, status: 200, sample_weight });
const bars = (h: Histogram) => h.buckets.map((b) => b.counts['2xx']);

test('the bucket of an index, counted from the newest', () => {
  const h = chart(4, 0, 5);
  expect(bucketOf(h, 0)).toEqual({ newer: 0, count: 5, start: at(2), end: at(3) });
  expect(bucketOf(h, 4)?.start).toBe(at(2));
  expect(bucketOf(h, 5)).toEqual({ newer: 5, count: 4, start: at(0), end: at(1) });
  expect(bucketOf(h, 9)).toBeNull();
});

test('live pairs are counted into a new chart; the one that answered stays as it was', () => {
  const h = chart(1, 1);
  const next = countIn(h, [pair(0.5), pair(3.2)], false);
  expect(bars(next)).toEqual([2, 1, 0, 1]);
  expect([next.total, next.from, next.to]).toEqual([4, at(0), at(4)]);
  expect(bars(h)).toEqual([1, 1]);
});

test('a range that moves lets go of what it leaves behind', () => {
  const next = countIn(chart(7, 1, 1), [pair(3)], true);
  expect(bars(next)).toEqual([1, 1, 1]);
  expect([next.total, next.estimated_total, next.from, next.to]).toEqual([3, 3, at(1), at(4)]);
});

test('a pair that stands for ten is counted once, and estimated as ten', () => {
  const next = countIn(chart(1), [pair(0, 10), pair(0, 0)], false);
  expect([next.total, next.estimated_total, next.sampled]).toEqual([3, 12, true]);
  expect(next.buckets[0]?.estimated['2xx']).toBe(12);
});

test('a clock far ahead does not stretch the chart', () => {
  expect(bars(countIn(chart(1), [pair(1e7)], false))).toEqual([2]);
});
