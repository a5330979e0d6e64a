import { expect, test } from 'vitest';
import words from '../../../doctor/loss.go?raw';
import type { Ledger, ProxiesAnswer } from '../api/types';
import { losses } from './losses';
import { dropLabel, reasonInfo } from './reasons';

const proxies = {
  proxies: [{ counters: { dropped: { memory: 2, fault: 0 }, sampled: 50 } }],
  forwarders: [{ dropped: { spool_full: 5 }, filtered: { health: 9 } }],
} as unknown as ProxiesAnswer;

test('what was filtered or sampled was not lost', () => {
  expect(losses(proxies, undefined)).toEqual({
    total: 7,
    drops: [
      { hop: 'forwarder', reason: 'spool_full', pairs: 5 },
      { hop: 'proxy', reason: 'memory', pairs: 2 },
    ],
    inFlight: null,
  });
  expect(losses(undefined, undefined).total).toBe(0);
});

test('the ledger knows better, also what nobody can account for', () => {
  const total = { seen: 20, stored: 10, filtered: {}, sampled: 0, dropped: [{ hop: 'proxy', reason: 'memory', pairs: 4 }], in_flight: 3, unknown: 0, unaccounted: 3 };
  const lost = losses(proxies, { total } as unknown as Ledger);
  expect([lost.total, lost.inFlight]).toEqual([7, 3]);
  expect(lost.drops.map(dropLabel)).toEqual(['proxy · memory', 'unaccounted']);
});

test('what somebody deleted was not lost', () => {
  const total = { seen: 4, stored: 2, filtered: {}, sampled: 0, dropped: [{ hop: 'analyzer', reason: 'deleted', pairs: 1 }, { hop: 'analyzer', reason: 'damaged', pairs: 1 }], in_flight: 0, unknown: 0, unaccounted: 0 };
  expect(losses(undefined, { total } as unknown as Ledger)).toMatchObject({ total: 1, drops: [{ reason: 'damaged' }] });
});

test('the words are those of the command line', () => {
  const entries = [...words.matchAll(/\{"(\w+)", "(\w+)"\}: \{\s+("(?:[^"\\]|\\.)*"),\s+("(?:[^"\\]|\\.)*"),/g)];
  expect(entries.length).toBeGreaterThan(10);
  for (const [, hop, reason, cause, fix] of entries as unknown as [string, string, string, string, string][]) {
    expect(reasonInfo(hop, reason), `${hop} ${reason}`).toMatchObject({ cause: JSON.parse(cause), fix: JSON.parse(fix) });
  }
});

test('a reason of a newer program is shown as it is', () => {
  expect(dropLabel({ hop: 'proxy', reason: 'cosmic_rays' })).toBe('proxy · cosmic rays');
  expect(reasonInfo('proxy', 'cosmic_rays').cause).toBe('lost at the proxy (cosmic_rays)');
});
