import { describe, expect, test } from 'vitest';
import type { LedgerCounts, LedgerStep } from '../api/types';
import { barsOf, difference, equationText, termsOf, verdictOf } from './ledger';

const counts = (change: Partial<LedgerCounts> = {}): LedgerCounts => ({
  seen: 0, stored: 0, filtered: {}, sampled: 0, dropped: [], in_flight: 0, unknown: 0, unaccounted: 0, ...change,
});

const much = counts({
  seen: 12_004,
  stored: 11_700,
  filtered: { noise: 3, health_check: 201 },
  sampled: 40,
  dropped: [{ hop: 'proxy', reason: 'memory', pairs: 7 }, { hop: 'forwarder', reason: 'spool_full', pairs: 48 }, { hop: 'analyzer', reason: 'damaged', pairs: 0 }],
  in_flight: 5,
});

describe('the sum', () => {
  test('its terms, with what they are made of: most first, nothing that is 0', () => {
    const terms = Object.fromEntries(termsOf(much).map((t) => [t.place, t]));
    expect(terms.filtered).toEqual({ place: 'filtered', pairs: 204, parts: [{ label: 'health_check', pairs: 201 }, { label: 'noise', pairs: 3 }] });
    expect(terms.dropped?.parts).toEqual([{ label: 'forwarder · spool full', pairs: 48 }, { label: 'proxy · memory', pairs: 7 }]);
    expect(terms.unknown).toEqual({ place: 'unknown', pairs: 0, parts: [] });
  });

  test('as a line of text', () => {
    expect(equationText(much)).toBe(
      '12,004 seen = 11,700 stored + 204 filtered (health_check 201, noise 3) + 40 sampled + 55 dropped (forwarder · spool full 48, proxy · memory 7) + 5 in flight',
    );
    expect(equationText(counts())).toBe('0 seen = 0 stored');
  });

  test('whether it is one', () => {
    expect(difference(much)).toBe(0);
    expect(difference({ ...much, seen: 12_000 })).toBe(-4);
    expect(difference({ ...much, in_flight: 0 })).toBe(5);
  });
});

describe('what it says', () => {
  test.each<[string, Partial<LedgerCounts>, boolean, string, RegExp]>([
    ['nothing yet', {}, true, 'ok', /no pair was seen/i],
    ['all stored', { seen: 5, stored: 5 }, true, 'ok', /every pair is accounted for, and none was dropped/i],
    ['filtered and in flight is no loss', { seen: 5, stored: 2, filtered: { a: 2 }, in_flight: 1 }, true, 'ok', /none was dropped/i],
    ['dropped with a reason', { seen: 5, stored: 3, dropped: [{ hop: 'proxy', reason: 'memory', pairs: 2 }] }, true, 'bad', /every pair is accounted for; 2 of them were dropped/i],
    ['a death', { seen: 5, stored: 3, unknown: 2 }, true, 'attention', /at most 2 that ended with their proxy/],
    ['missing without a reason', { seen: 5, stored: 3, unaccounted: 2 }, false, 'bad', /2 of 5 pairs are not accounted for/],
    ['it does not hold', { seen: 5, stored: 5 }, false, 'bad', /does not hold/],
  ])('%s', (_, change, holds, tone, title) => {
    const verdict = verdictOf(counts(change), holds);
    expect(verdict.tone).toBe(tone);
    expect(verdict.title).toMatch(title);
  });
});

describe('bars', () => {
  const origin = Date.UTC(2026, 10, 23, 12);
  const step = (minute: number, app: string, stored: number, dropped = 0): LedgerStep => ({
    ...counts({ seen: stored + dropped, stored, dropped: [{ hop: 'proxy', reason: 'memory', pairs: dropped }] }),
    time: new Date(origin + minute * 60_000).toISOString(), cluster: '', namespace: '', app,
  });

  test('one a step, all apps together, also where nothing happened', () => {
    const { bars } = barsOf([step(0, 'a', 3), step(0, 'b', 4, 1), step(2, 'a', 1)], origin, origin + 3 * 60_000, 60_000);
    expect(bars.map((b) => [b.pairs.stored, b.pairs.dropped, b.seen])).toEqual([[7, 1, 8], [0, 0, 0], [1, 0, 1]]);
  });

  test('the first begins with its step, not in the middle of it', () => {
    const { bars } = barsOf([step(0, 'a', 3)], origin + 30_000, origin + 90_000, 60_000);
    expect(bars.map((b) => b.ms)).toEqual([origin, origin + 60_000]);
    expect(bars[0]?.pairs.stored).toBe(3);
  });

  test('long ranges are drawn coarser, and nothing gets lost by it', () => {
    const steps = Array.from({ length: 1000 }, (_, i) => step(i, 'a', 1));
    const { bars, stepMs } = barsOf(steps, origin, origin + 1000 * 60_000, 60_000, 100);
    expect([bars.length, stepMs]).toEqual([100, 600_000]);
    expect(bars.reduce((n, b) => n + b.pairs.stored, 0)).toBe(1000);
  });

  test('a range or a step that is none has none', () => {
    expect(barsOf([], origin, origin, 60_000).bars).toEqual([]);
    expect(barsOf([], origin, origin + 1, 0).bars).toEqual([]);
  });
});
