import { describe, expect, test } from 'vitest';
import { withoutCount, withTimes } from './words';

const now = Date.UTC(2026, 10, 23, 12);

describe('withTimes', () => {
  test('times of today are clocks, others have their day', () => {
    expect(withTimes('lost between 2026-11-22T09:00:00Z and 2026-11-23T10:24:39.5Z: why', 'utc', now)).toBe('lost between Nov 22 09:00 and 10:24:39: why');
  });
  test('what is no time stays as it is', () => {
    for (const text of ['', '562 pairs', 'from 2026-11-23 on', '2026-99-99T10:00:00Z']) expect(withTimes(text, 'utc', now)).toBe(text);
  });
});

describe('withoutCount', () => {
  test.each([
    ['562 pairs: the memory was full', 'the memory was full'],
    ['1 pair: the memory was full', 'the memory was full'],
    ['At most 1,204 pairs: it died', 'it died'],
    ['it lost 3 pairs: of many', 'it lost 3 pairs: of many'],
    ['', ''],
  ])('%s', (text, want) => expect(withoutCount(text)).toBe(want));
});
