import { describe, expect, test } from 'vitest';
import { isLive, rangeLabel, rangeParams, wider } from './range';
import { parseQueryString, readSearch, searchRange, writeQueryString, type TrafficSearch } from './search';

describe('the URL holds the whole view', () => {
  test.each<TrafficSearch>([
    {},
    { q: 'status:5xx -path:/health* body:"a + b & c=d" é%' },
    { q: '404' },
    { q: 'true', from: 'all' },
    { from: '2026-11-23T12:00:00.000Z', to: '2026-11-23T12:05:00.000Z', row: '01997b2c-6d3f-7c44-9d6e-2f6a31c0b8aa', tab: 'body' },
  ])('%j survives', (search) => {
    const url = writeQueryString({ ...search });
    expect(readSearch(parseQueryString(url))).toEqual(search);
  });

  test('and can be read and written by people', () => {
    expect(writeQueryString({ q: 'status:5xx app:checkout', from: '1h', row: undefined })).toBe('?q=status:5xx+app:checkout&from=1h');
  });

  test('defaults are not in it', () => {
    expect(writeQueryString({ ...readSearch({ q: ' ', from: '15m', tab: 'overview' }) })).toBe('');
  });

  test('nonsense is dropped, never a crash', () => {
    expect(readSearch({ tab: 'x', row: 5, q: ['a'], from: null })).toEqual({});
  });
});

test('ranges', () => {
  const now = Date.UTC(2026, 10, 23, 12, 30);
  expect(searchRange({})).toEqual({ from: '15m' });
  expect(rangeParams({ from: 'all' })).toEqual({});
  expect(rangeParams({ from: '15m' })).toEqual({ from: '15m' });
  expect(isLive({ from: '15m' })).toBe(true);
  expect(isLive({ from: 'all', to: '2026-11-23T12:00:00Z' })).toBe(false);
  expect(rangeLabel({ from: '15m' }, 'utc', now)).toBe('Last 15 min');
  expect(rangeLabel({ from: '90s' }, 'utc', now)).toBe('Last 90s');
  expect(rangeLabel({ from: '2026-11-23T12:00:00Z', to: '2026-11-23T12:05:30Z' }, 'utc', now)).toBe('12:00 – 12:05:30');
});

test('every range has a wider one until all is shown', () => {
  let range = wider({ from: '5m' });
  const seen: string[] = [];
  while (range) {
    seen.push(range.from);
    range = wider(range);
  }
  expect(seen).toEqual(['15m', '1h', '6h', '24h', 'all']);
  expect(wider({ from: '2026-11-23T12:00:00Z', to: '2026-11-23T12:05:00Z' })).toEqual({ from: 'all' });
});
