import { render, screen } from '@testing-library/react';
import { expect, test } from 'vitest';
import type { Timing } from '../../api/types';
import { phasesOf, Waterfall } from './Waterfall';

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

test('what came in one read has no length, and says why', () => {
  const t = timing({ request_last: at(5), response_last: at(20) });
  const { unmount } = render(<Waterfall timing={t} />);
  const rows = screen.getAllByRole('row').map((row) => row.textContent);
  expect(rows).toContain('Send requestin one piece');
  expect(rows).toContain('Receive responsein one piece');
  expect(rows).toContain('Wait for response15 ms');
  unmount();
  render(<Waterfall timing={t} slim />);
  expect(screen.getByTitle('first to last byte of the request: in one piece').textContent).toBe('Send request –');
  expect(screen.getByTitle(/^last byte of the request to first byte/).textContent).toBe('Wait for response 15 ms');
  expect(document.body.textContent).not.toContain('0 ns');
});

test('a clock that was set back is not a length of nothing', () => {
  render(<Waterfall timing={timing({ response_last: at(1) })} />);
  expect(screen.getByTitle(/the clock was set back/).textContent).toBe('Receive responsenot known');
});
