import { describe, expect, test } from 'vitest';
import { exactDuration, formatAgo, formatClock, formatCount, formatDuration, formatMoment, formatRate, formatShare, formatShort, formatSize, plural } from './format';

describe('durations stand in the unit that reads best', () => {
  test.each([
    [0, '0 ns'],
    [840, '840 ns'],
    [999.6, '1.0 µs'],
    [1_000, '1.0 µs'],
    [12_400, '12 µs'],
    [999_400, '999 µs'],
    [999_600, '1.0 ms'],
    [1_000_000, '1.0 ms'],
    [1_240_000, '1.2 ms'],
    [14_000_000, '14 ms'],
    [999_600_000, '1.00 s'],
    [1_204_000_000, '1.20 s'],
    [9_996_000_000, '10.0 s'],
    [59_940_000_000, '59.9 s'],
    [59_960_000_000, '1 m 00 s'],
    [123_000_000_000, '2 m 03 s'],
    [3_720_000_000_000, '1 h 02 m'],
    [180_000_000_000_000, '2 d 02 h'],
    [-1_500_000, '-1.5 ms'],
  ])('%d ns is %s', (ns, text) => expect(formatDuration(ns)).toBe(text));

  test('what is not known is a dash, never a number', () => {
    expect(formatDuration(null)).toBe('–');
    expect(formatDuration(Number.NaN)).toBe('–');
    expect(formatSize(undefined)).toBe('–');
    expect(formatClock(Number.NaN, 'utc')).toBe('–');
  });

  test('the exact value is kept for the hover', () => expect(exactDuration(1_204_331)).toBe('1,204,331 ns'));
});

describe('sizes', () => {
  test.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1.0 KB'],
    [9_940, '9.9 KB'],
    [9_960, '10 KB'],
    [340_000, '340 KB'],
    [999_600, '1.0 MB'],
    [3_145_728, '3.1 MB'],
    [10_737_418_240, '11 GB'],
  ])('%d bytes are %s', (n, text) => expect(formatSize(n)).toBe(text));
});

test('counts have thousands apart', () => {
  expect(formatCount(999)).toBe('999');
  expect(formatCount(1_204_331)).toBe('1,204,331');
  expect(plural(1, 'pair')).toBe('1 pair');
  expect(plural(2000, 'proxy', 'proxies')).toBe('2,000 proxies');
});

test('moments in UTC', () => {
  const ms = Date.UTC(2026, 10, 23, 9, 4, 31, 7);
  expect(formatClock(ms, 'utc')).toBe('09:04:31.007');
  expect(formatMoment(ms, 'utc')).toBe('2026-11-23 09:04:31.007');
  expect(formatShort(ms, 'utc', ms)).toBe('09:04:31');
  expect(formatShort(Date.UTC(2026, 10, 22, 9, 4), 'utc', ms)).toBe('Nov 22 09:04');
});

test.each([
  [0, 'now'],
  [-5000, 'now'],
  [3000, '3 s ago'],
  [240_000, '4 m ago'],
  [7_200_000, '2 h ago'],
  [259_200_000, '3 d ago'],
])('%d ms back is %s', (back, text) => expect(formatAgo(1e12 - back, 1e12)).toBe(text));

test('rates and shares say what they are of, and never round something to nothing', () => {
  expect([0, 340.4, 1.23, 12_345, 0.23, 0.001, NaN].map(formatRate)).toEqual(['0/s', '340/s', '1.2/s', '12,345/s', '14/min', '3.6/h', '–']);
  expect([0, 0.0004, 0.003, 0.12, 0.999, 1].map(formatShare)).toEqual(['0 %', '< 0.1 %', '0.3 %', '12 %', '> 99 %', '100 %']);
});
