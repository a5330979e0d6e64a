import { expect, test } from 'vitest';
import type { ErrorGroup, ErrorGroups } from '../api/types';
import { compareErrors, errorSorts, timeBefore } from './errors';

const group = (key: string, change: Partial<ErrorGroup> = {}): ErrorGroup => ({
  key, template: `says ${key}`, app: 'shop', method: 'GET', endpoint: '/pay', status: 500, kind: 'body', pairs: 3, exact: true, read: 3,
  first: '2026-11-24T04:00:00Z', last: '2026-11-24T04:10:00Z', steps: [1, 2], example: '', query: `app:shop status:500`, ...change,
});
const answer = (groups: ErrorGroup[], change: Partial<ErrorGroups> = {}): ErrorGroups => ({
  from: '2026-11-24T04:00:00Z', to: '2026-11-24T04:15:00Z', step_ns: 1e9, groups, content: true, read: 3, read_of: 3, more: false, sampled: false, partial: false, partial_reason: '', ...change,
});

test('U62: new and gone next to the time before', () => {
  const found = compareErrors(answer([group('a'), group('b')]), answer([group('b'), group('c')]));
  expect([...(found?.fresh ?? [])]).toEqual(['a']);
  expect(found?.gone.map((g) => g.key)).toEqual(['c']);
  expect(compareErrors(answer([group('a')]), undefined)).toBeNull();
});

test('U62: where not all was looked into, nothing is said to be new or gone', () => {
  // In the same place more was said than was read: it may have been said then.
  const vague = group('b', { exact: false });
  expect(compareErrors(answer([group('a')]), answer([vague]))?.fresh.size).toBe(0);
  expect(compareErrors(answer([group('a', { endpoint: '/other' })]), answer([vague]))?.fresh.size).toBe(1);
  expect(compareErrors(answer([vague]), answer([group('c')]))?.gone).toEqual([]);
  expect(compareErrors(answer([group('a')]), answer([], { more: true }))?.fresh.size).toBe(0);
  expect(compareErrors(answer([], { more: true }), answer([group('a')]))?.gone).toEqual([]);
  // Somebody who sees no bodies has other groups.
  expect(compareErrors(answer([group('a')]), answer([group('b')], { content: false }))).toBeNull();
});

test('the time before is as long, in whole minutes', () => {
  expect(timeBefore({ from: '2026-11-24T04:10:30Z', to: '2026-11-24T04:25:31Z' })).toEqual({ from: '2026-11-24T03:54:00.000Z', to: '2026-11-24T04:10:00.000Z' });
  expect(timeBefore({ from: '', to: '' })).toBeNull();
});

test('sorting puts the most and the latest first', () => {
  const list = [group('a', { pairs: 1 }), group('b', { pairs: 9, first: '2026-11-24T03:00:00Z' }), group('c', { pairs: 4, status: 503 })];
  expect(list.toSorted(errorSorts.pairs).map((g) => g.key)).toEqual(['b', 'c', 'a']);
  expect(list.toSorted(errorSorts.first).map((g) => g.key)).toEqual(['a', 'c', 'b']);
  expect(list.toSorted(errorSorts.status).map((g) => g.key)).toEqual(['c', 'b', 'a']);
});
