import { act, screen, waitFor } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { expect, test, vi } from 'vitest';
import type { Message, Pair } from '../api/types';
import { FeedContext } from '../feed/context';
import { pair as summary } from '../feed/fake';
import type { Feed } from '../feed/feed';
import { readCompareSearch, readExchangeSearch } from '../lib/search';
import { serve, showAt } from '../test-kit';
import { Compare } from './Compare';
import { Exchange } from './Exchange';

const message = (change: Partial<Message>): Message => ({
  start_line: 'HTTP/1.1 200 OK', headers: [], trailers: [], body: '', body_encoding: 'text', body_size: change.body?.length ?? 0, body_hash: '', truncated: false, wire_size: 0, content_encoding: '', ...change,
});
const whole = (n: number, change: Partial<Pair> = {}): Pair => ({
  ...summary(n),
  request: message({ start_line: `GET /n/${n} HTTP/1.1`, headers: [['Host', 'shop'], ['X-Number', String(n)]] }),
  response: message({ headers: [['Date', `${n}`], ['Server', 'x']], body: `{"n":${n},"same":true,"request_id":"${n}"}` }),
  timing: { accepted: null, connected: null, request_first: null, request_last: null, response_first: null, response_last: null },
  redactions: [],
  tags: {},
  ...change,
});
const number = (path: string) => Number(path.slice(-12));
const list = (ids: number[]) => ({ indexOf: (id: string) => ids.indexOf(number(id)), rowAt: (i: number) => (ids[i] === undefined ? undefined : summary(ids[i])) }) as unknown as Feed;

const page = (ids: number[]) => () => (
  <FeedContext value={list(ids)}>
    <Exchange />
  </FeedContext>
);
const pane = () => document.querySelector('[data-pane=detail]')?.getAttribute('data-pair');

test('U40 the race on the page of an exchange: fifty fast moves, and what is shown is what the address says', async () => {
  const waiting: (() => void)[] = [];
  serve((path) => (path.startsWith('pairs/') ? new Promise((resolve) => waiting.push(() => resolve(whole(number(path))))) : undefined));
  const router = showAt(`/pairs/${summary(0).id}?tab=headers`, page(Array.from({ length: 60 }, (_, i) => i)), readExchangeSearch);
  await screen.findByRole('tab', { name: 'Headers' });
  for (let n = 1; n <= 50; n++) {
    await userEvent.keyboard('j');
    await waitFor(() => expect(router.state.location.pathname).toContain(summary(n).id));
    if (n % 9 === 0) await act(async () => waiting.splice(0).toReversed().forEach((answer) => answer()));
    const shown = [...document.querySelectorAll('td')].map((td) => td.textContent ?? '');
    if (shown.length > 0) expect(shown).toContain(String(n));
  }
  await act(async () => waiting.splice(0).toReversed().forEach((answer) => answer()));
  await waitFor(() => expect(document.querySelectorAll('td').length).toBeGreaterThan(0));
  expect(pane()).toBe(summary(50).id);
  expect(document.body.textContent).toContain('GET /n/50 HTTP/1.1');
});

test('U28 a value filters in and out, and is copied', async () => {
  const written = vi.fn(async () => undefined);
  serve((path) => (path.startsWith('pairs/') ? whole(number(path)) : undefined));
  const router = showAt(`/pairs/${summary(3).id}?tab=headers`, page([3]), readExchangeSearch);
  const value = await screen.findByRole('button', { name: 'shop' });
  const user = userEvent.setup();
  vi.spyOn(navigator.clipboard, 'writeText').mockImplementation(written);
  await user.click(value);
  await user.click(await screen.findByRole('menuitem', { name: 'Copy the value' }));
  expect(written).toHaveBeenCalledWith('shop');
  await user.click(value);
  await user.click(await screen.findByRole('menuitem', { name: 'Leave out pairs with it' }));
  await waitFor(() => expect(router.state.location.search).toEqual({ q: '-request.header.host:shop', from: 'all' }));
});

test('U47 d picks one, and d on another compares the two; ignored differences are marked as that', async () => {
  serve((path) => (path.startsWith('pairs/') ? whole(number(path)) : undefined));
  const router = showAt(`/pairs/${summary(1).id}`, page([1, 2]), readExchangeSearch);
  await screen.findByRole('tab', { name: 'Overview' });
  await userEvent.keyboard('d');
  expect(screen.getByRole('button', { name: 'Picked' })).toBeTruthy();
  await userEvent.keyboard('j');
  await userEvent.click(await screen.findByRole('button', { name: 'Compare with picked' }));
  await waitFor(() => expect(router.state.location.href).toBe(`/compare?a=${summary(1).id}&b=${summary(2).id}`));
});

test('U47 two exchanges side by side', async () => {
  serve((path) => (path.startsWith('pairs/') ? whole(number(path)) : undefined));
  showAt(`/compare?a=${summary(1).id}&b=${summary(2).id}`, Compare, readCompareSearch);
  const row = async (name: string) => (await screen.findByRole('rowheader', { name })).closest('tr')?.getAttribute('data-op');
  expect(await row('X-Number')).toBe('changed');
  expect(await row('Date')).toBe('ignored');
  expect(await row('Server')).toBe('same');
  vi.spyOn(HTMLElement.prototype, 'clientHeight', 'get').mockReturnValue(400);
  await userEvent.click(screen.getByRole('tab', { name: 'Response body' }));
  expect(await screen.findByText('1 changed, 1 ignored')).toBeTruthy();
});

test('U47 two times, endpoint by endpoint', async () => {
  const endpoint = (p95: number, errors: number) => ({
    app: 'checkout', host: 'shop', method: 'GET', endpoint: '/cart/{id}', pairs: 60, errors, p50_ns: 1e6, p95_ns: p95, p99_ns: p95, max_ns: p95, first: null, last: null, estimated: 60, request_bytes: 0, response_bytes: 0,
    classes: { '1xx': 0, '2xx': 60 - errors, '3xx': 0, '4xx': 0, '5xx': errors, none: 0 },
  });
  serve((path, url) => (path === 'stats/endpoints' ? { endpoints: [url.searchParams.get('from') === '1h' ? endpoint(5e6, 0) : endpoint(90e6, 6)], more: false, partial: false } : undefined));
  showAt('/compare?from=1h&from2=5m', Compare, readCompareSearch);
  expect(await screen.findByText('▲ 10 %')).toBeTruthy();
  expect(screen.getAllByText('▲ 90 ms')).toHaveLength(2);
  expect(screen.getByText('12', { exact: false, selector: 'span' })).toBeTruthy();
});
