import { expect, test } from 'vitest';
import { diffNs, formatNs, justAfter, parseMs, parseNs } from './time';

test('nanoseconds survive', () => {
  const time = '2026-11-23T12:04:31.204512331Z';
  expect(parseNs(time)).toBe(1_795_435_471_204_512_331n);
  expect(formatNs(parseNs(time) as bigint)).toBe(time);
  expect(diffNs(time, '2026-11-23T12:04:31.204512332Z')).toBe(1);
});

test('short fractions, offsets, whole seconds', () => {
  expect(parseNs('2026-11-23T12:04:31.5Z')).toBe(parseNs('2026-11-23T13:04:31.500+01:00'));
  expect(parseMs('1970-01-01T00:00:01Z')).toBe(1000);
  expect(parseMs('1970-01-01T00:00:00.0000005Z')).toBeCloseTo(0.0005, 9);
});

test('what is no time', () => {
  expect(parseNs('15m')).toBeNull();
  expect(parseNs(null)).toBeNull();
  expect(parseMs('2026-13-01T00:00:00Z')).toBeNaN();
  expect(diffNs(null, '2026-11-23T12:04:31Z')).toBeNull();
});

test('the first moment after one', () => {
  expect(justAfter('2026-11-23T12:04:31Z')).toBe('2026-11-23T12:04:31.000000001Z');
  expect(justAfter('2026-11-23T12:04:31.999999999Z')).toBe('2026-11-23T12:04:32Z');
});
