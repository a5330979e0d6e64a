import { fireEvent, screen, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { expect, test, vi } from 'vitest';
import type { DifferenceRanking, HeatmapCounts } from '../api/types';
import { readLatencySearch } from '../lib/search';
import { problem, serve, showAt } from '../test-kit';
import { Latency } from './Latency';

const start = Date.parse('2026-11-24T04:00:00Z');
const time = (i: number) => new Date(start + i * 1000).toISOString();
const counts: HeatmapCounts = {
  from: time(0), to: time(10), step_ns: 1e9, pairs: 61, absent: 1, sampled: false, partial: false, partial_reason: '',
  bands: Array.from({ length: 10 }, (_, i) => ({ from_ns: 1e6 * 2 ** i, to_ns: 1e6 * 2 ** (i + 1) })),
  columns: Array.from({ length: 10 }, (_, i) => ({ time: time(i), counts: Array.from({ length: 10 }, (_v, j) => (j === 1 ? 5 : i === 7 && j === 8 ? 10 : 0)) })),
};
const value = { field: 'pod', value: 'pod-slow', inside: 10, outside: 1, inside_share: 1, outside_share: 0.02, query: 'pod:pod-slow' };
const ranking: DifferenceRanking = { inside: 10, outside: 50, values: [value, { ...value, field: 'tag.tls.sni', value: 'a b', query: 'tag.tls.sni:"a b"' }], partial: false, partial_reason: '' };

function open(address: string, rank: unknown = ranking) {
  const calls = serve((path, url) => {
    if (path === 'query') return { query: url.searchParams.get('q'), mistake: null };
    if (path === 'stats/heatmap') return counts;
    if (path === 'stats/difference') return rank;
    return path === 'fields' ? { fields: [] } : undefined;
  });
  return { calls, router: showAt(address, Latency, readLatencySearch), asked: () => new URL(calls.findLast((c) => c.includes('stats/difference')) ?? 'http://x', 'http://x').searchParams };
}

test('U26: a box that is selected by the keyboard is compared with the rest, and stands in the address', async () => {
  const { router, asked, calls } = open('/latency?from=1h&q=app:shop');
  const map = await screen.findByRole('application');
  expect(map.getAttribute('aria-label')).toBe('Durations over time: 60 exchanges in 10 steps and 10 bands, at most 10 exchanges in one cell');
  expect(calls.some((c) => c.includes('stats/difference'))).toBe(false);
  map.focus();
  // From the middle (5, 5) to (7, 8), and from there a box of two by two.
  await userEvent.keyboard('{ArrowRight}{ArrowRight}{ArrowRight}{ArrowUp}{ArrowUp}{Shift>}{ArrowLeft}{ArrowUp}{/Shift}');
  expect(screen.getByText(/128 ms – 512 ms: 10 exchanges/)).toBeTruthy();
  await userEvent.keyboard('{Enter}');
  await vi.waitFor(() => expect(router.state.location.search).toMatchObject({ in_from: time(6), in_to: time(8), min: '128000000', max: '512000000' }));
  const table = await screen.findByRole('table', { name: 'More frequent in the box, the greatest difference first' });
  expect(within(table).getAllByRole('row')[1]?.textContent).toMatch(/podpod-slow100 %2\.0 %/);
  expect(Object.fromEntries(asked())).toMatchObject({ q: 'app:shop', from: '1h', in: 'duration:128000000ns..511999999ns', in_from: time(6), in_to: time(8) });
  map.focus();
  await userEvent.keyboard('{Escape}');
  await vi.waitFor(() => expect(router.state.location.search).toEqual({ from: '1h', q: 'app:shop' }));
});

test('U26: a box that is dragged', async () => {
  const { router } = open('/latency');
  const map = await screen.findByRole('application');
  map.getBoundingClientRect = () => ({ left: 0, top: 0, width: 100, height: 100, right: 100, bottom: 100, x: 0, y: 0, toJSON: () => '' });
  fireEvent.pointerDown(map, { button: 0, clientX: 72, clientY: 5, pointerId: 1 });
  fireEvent.pointerMove(map, { clientX: 95, clientY: 28, pointerId: 1 });
  fireEvent.pointerUp(map, { clientX: 95, clientY: 28, pointerId: 1 });
  await vi.waitFor(() => expect(router.state.location.search).toMatchObject({ in_from: time(7), in_to: time(10), min: '128000000', max: '1024000000' }));
});

test('U26: the table beside says the same in numbers, selects, and a value filters', async () => {
  const { router } = open('/latency');
  const table = await screen.findByRole('table', { name: 'Exchanges by duration' });
  const rows = within(table).getAllByRole('row').slice(1).map((r) => r.textContent);
  expect(rows).toEqual(['512 ms – 1.02 s00 %', '64 ms – 512 ms1017 %', '8.0 ms – 64 ms00 %', '1.0 ms – 8.0 ms5083 %', 'without a duration1']);
  const button = within(table).getByRole('button', { name: '64 ms – 512 ms' });
  button.focus();
  await userEvent.keyboard('{Enter}');
  await vi.waitFor(() => expect(router.state.location.search).toMatchObject({ in_from: time(0), in_to: time(10), min: '64000000', max: '512000000' }));
  expect(button.getAttribute('aria-pressed')).toBe('true');
  const found = await screen.findByText('pod-slow');
  found.focus();
  await userEvent.keyboard('{Enter}');
  await userEvent.click(await screen.findByRole('menuitem', { name: 'Show only pairs with it' }));
  await vi.waitFor(() => expect(router.state.location.search).toMatchObject({ q: 'pod:pod-slow' }));
});

test('U26: an address with a box shows it at once; its exchanges are a click away, and a mistake is told', async () => {
  const box = `in_from=${time(1)}&in_to=${time(3)}&min=1000000&max=4000000`;
  const { router } = open(`/latency?${box}`, { ...ranking, values: [] });
  expect(await screen.findByText(/Nothing sets the 10 exchanges in the box apart from the 50 others/)).toBeTruthy();
  await userEvent.click(screen.getByRole('link', { name: 'Show them' }));
  await screen.findByText('another page: /');
  expect(router.state.location.search).toMatchObject({ from: time(1), to: time(3), q: 'duration:1000000ns..3999999ns' });
  document.body.replaceChildren();
  open(`/latency?${box}`, problem(503, { detail: 'The answer took longer than 30s.' }));
  expect((await screen.findByRole('alert')).textContent).toBe('The answer took longer than 30s.');
});
