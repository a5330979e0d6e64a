import { screen, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { expect, test, vi } from 'vitest';
import type { ErrorGroup, ErrorGroups } from '../api/types';
import { readErrorsSearch } from '../lib/search';
import { serve, showAt } from '../test-kit';
import { Errors } from './Errors';

const ago = (minutes: number) => new Date(Date.now() - minutes * 60_000).toISOString();
const group = (template: string, change: Partial<ErrorGroup> = {}): ErrorGroup => ({
  key: template, template, app: 'shop', method: 'POST', endpoint: '/orders/{id}', status: 500, kind: 'body', pairs: 3, exact: true, read: 3,
  first: ago(9), last: ago(1), steps: [1, 0, 2], example: '01997b2c-6d3f-7c44-9d6e-000000000001', query: `app:shop response.body:"${template}"`, ...change,
});
const answer = (groups: ErrorGroup[], change: Partial<ErrorGroups> = {}): ErrorGroups => ({
  from: ago(15), to: ago(0), step_ns: 1e9, groups, content: true, read: 6, read_of: 6, more: false, sampled: false, partial: false, partial_reason: '', ...change,
});
const declined = group('card was declined', { pairs: 1200, exact: false, read: 20 });
const fresh = group('no stock', { endpoint: '/stock', status: 503 });
const gone = group('old trouble', { endpoint: '/old', pairs: 7 });

function open(address: string, now: ErrorGroups, before: ErrorGroups = answer([])) {
  const calls = serve((path, url) => {
    if (path === 'query') return { query: url.searchParams.get('q'), mistake: null };
    if (path === 'stats/errors') return url.searchParams.has('to') ? before : now;
    return path === 'fields' ? { fields: [] } : undefined;
  });
  return { calls, router: showAt(address, Errors, readErrorsSearch) };
}

test('U27: errors by what they say, each with how often, where, and the way to its exchanges', async () => {
  const { router } = open('/errors?from=1h&q=app:shop', answer([declined, fresh, { ...fresh, key: 'elsewhere', app: 'depot' }], { read: 40, read_of: 1203 }));
  const table = await screen.findByRole('table', { name: 'Errors by exchanges' });
  const line = within(table).getByText('card was declined').closest('tr') as HTMLElement;
  expect(line.textContent).toMatch(/500.*POST.*\/orders\/\{id\}.*shop.*~1,200.*≤ 9 m ago.*60 s ago/);
  expect(screen.getAllByRole('status')[0]?.textContent).toMatch(/^2 kinds of error in 3 places.*the newest 40 of 1,203 bodies were looked into/);
  expect(within(line).getByRole('link', { name: 'open an example of: card was declined' }).getAttribute('href')).toContain('/pairs/01997b2c');
  await userEvent.click(within(line).getByRole('link', { name: 'card was declined' }));
  await screen.findByText('another page: /');
  expect(router.state.location.search).toMatchObject({ q: declined.query, from: '1h' });
});

test('U62: what is new and what is gone since the time before', async () => {
  const { calls, router } = open('/errors', answer([declined, fresh]), answer([declined, gone]));
  const table = await screen.findByRole('table');
  const line = (text: string) => within(table).getByText(text).closest('tr') as HTMLElement;
  await vi.waitFor(() => expect(line('no stock').textContent).toContain('new'));
  expect(line('card was declined').textContent).not.toContain('new');
  expect(line('old trouble').textContent).toContain('gone');
  expect(screen.getAllByRole('status')[0]?.textContent).toMatch(/2 kinds of error · 1 new · 1 gone/);
  const asked = new URL(calls.filter((c) => c.includes('stats/errors') && c.includes('to='))[0] ?? '', 'http://x').searchParams;
  expect(Date.parse(asked.get('to') ?? '')).toBeLessThanOrEqual(Date.now() - 15 * 60_000);
  // What is gone is shown where it was.
  await userEvent.click(within(line('old trouble')).getByRole('link', { name: 'old trouble' }));
  await screen.findByText('another page: /');
  expect(router.state.location.search).toMatchObject({ q: gone.query, to: asked.get('to') });
});

test('U62: by the keyboard alone, and the view is in the address', async () => {
  const { calls, router } = open('/errors', answer([declined, fresh]));
  await screen.findByRole('table');
  await userEvent.keyboard('j');
  expect(document.activeElement?.textContent).toBe('card was declined');
  await userEvent.keyboard('j');
  expect(document.activeElement?.textContent).toBe('no stock');
  await userEvent.keyboard('jk');
  expect(document.activeElement?.textContent).toBe('card was declined');
  await userEvent.click(screen.getByRole('button', { name: '4xx too' }));
  await vi.waitFor(() => expect(router.state.location.search).toMatchObject({ with: '4xx' }));
  await vi.waitFor(() => expect(calls.some((c) => c.includes('client_errors=1'))).toBe(true));
  await userEvent.click(screen.getByRole('button', { name: 'status' }));
  await screen.findByRole('table', { name: 'Errors by status' });
  expect(screen.getAllByRole('row').map((r) => r.dataset.key).filter(Boolean)).toEqual(['no stock', 'card was declined']);
  (document.querySelector('[data-key="no stock"] a') as HTMLElement).focus();
  await userEvent.keyboard('{Enter}');
  await screen.findByText('another page: /');
});

test('U62: who may not read bodies is told so, and an empty answer says what it means', async () => {
  const { router } = open('/errors', answer([group('Internal Server Error', { kind: 'status' })], { content: false, read: 0, read_of: 3 }));
  expect((await screen.findByText(/needs the role investigator/)).textContent).toContain('by status only');
  expect(router.state.location.pathname).toBe('/errors');
  document.body.replaceChildren();
  open('/errors?from=all&q=app:none', answer([]));
  expect(await screen.findByText(/failed in this range: no status 5xx, and no answer that is missing or cut/)).toBeTruthy();
});
