import { expect, test } from 'vitest';
import type { Timing } from '../../api/types';
import { phasesOf } from './Waterfall';

const at = (ms: number) => new Date(Date.UTC(2026, 10, 23, 12) + ms).toISOString();
const timing = (change: Partial<Timing> = {}): Timing => ({
  accepted: at(0),
  connected: at(2),
  request_first: at(5),
  request_last: at(6),
  response_first: at(20),
  response_last: at(25),
  ...change,
});
const ms = (t: Timing, first: boolean) => phasesOf(t, first).phases.map((p) => [p.kind, p.start / 1e6, p.length / 1e6]);

test('the first exchange on a connection begins with connecting', () => {
  expect(ms(timing(), true)).toEqual([
    ['connect', 0, 2],
    ['connect', 2, 3],
    ['send', 5, 1],
    ['wait', 6, 14],
    ['receive', 20, 5],
  ]);
  expect(phasesOf(timing(), true)).toMatchObject({ total: 25e6, idle: null });
});

test('a later one begins with its request', () => {
  expect(ms(timing(), false)).toEqual([
    ['send', 0, 1],
    ['wait', 1, 14],
    ['receive', 15, 5],
  ]);
  expect(phasesOf(timing(), false)).toMatchObject({ total: 20e6, idle: 5e6 });
});

test('what was not seen is left out', () => {
  expect(ms(timing({ response_first: null, response_last: null }), false)).toEqual([['send', 0, 1]]);
  expect(ms(timing({ accepted: null, connected: null, request_first: null, request_last: null, response_first: null, response_last: null }), true)).toEqual([]);
});

test('an answer before the request was whole, and a clock that went back, give nothing negative', () => {
  for (const t of [timing({ response_first: at(5.5) }), timing({ connected: at(-3) }), timing({ response_last: at(1) })]) {
    for (const [, start, length] of ms(t, true)) {
      expect(start as number).toBeGreaterThanOrEqual(0);
      expect(length as number).toBeGreaterThanOrEqual(0);
    }
  }
});
