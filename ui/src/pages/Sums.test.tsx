import { screen, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { expect, test, vi } from 'vitest';
import type { Edge, Endpoint } from '../api/types';
import { readSumsSearch } from '../lib/search';
import { problem, serve, showAt } from '../test-kit';
import { Endpoints } from './Endpoints';
import { Map } from './Map';

const endpoint = (change: Partial<Endpoint>): Endpoint => ({
  app: 'shop', host: '', method: 'GET', endpoint: '/orders/{id}', pairs: 900, estimated: 900, errors: 0,
  p50_ns: 1e6, p95_ns: 2e6, p99_ns: 3e6, max_ns: 4e6, request_bytes: 0, response_bytes: 900_000, first: null, last: new Date().toISOString(),
  classes: [0, 0, 900, 0, 0, 0] as unknown as Endpoint['classes'], ...change,
});
const answer = (endpoints: Endpoint[], from: string | null) => ({ from, to: null, endpoints, exact: true, more: false, sampled: false, partial: false, partial_reason: '' });
const edge = (change: Partial<Edge>): Edge => ({ caller: 'web', callee: 'shop', protocol: 'http', pairs: 90, estimated: 90, errors: 0, p50_ns: 1e6, p95_ns: 2e6, last: null, ...change });

test('U61: endpoints with what is new, slower and failing, sorted as one likes, each a way into the list', async () => {
  const slow = endpoint({ endpoint: '/slow', pairs: 90, p95_ns: 9e6 });
  const bad = endpoint({ endpoint: '/bad', pairs: 90, errors: 9 });
  const fresh = endpoint({ endpoint: '/fresh', pairs: 9 });
  const start = new Date(Date.now() - 900_000).toISOString();
  serve((path, url) => {
    if (path === 'query') return { query: url.searchParams.get('q'), mistake: null };
    if (path !== 'stats/endpoints') return path === 'fields' ? { fields: [] } : undefined;
    return url.searchParams.has('to') ? answer([endpoint({}), { ...slow, p95_ns: 2e6 }, { ...bad, errors: 0 }], null) : answer([endpoint({}), slow, bad, fresh], start);
  });
  const router = showAt('/endpoints', Endpoints, readSumsSearch);
  const table = await screen.findByRole('table', { name: 'Endpoints by rate' });
  const line = (name: string) => within(table).getByText(name).closest('tr') as HTMLElement;
  await vi.waitFor(() => expect(line('/fresh').textContent).toContain('new'));
  expect(line('/slow').textContent).toContain('slower');
  expect(line('/bad').textContent).toMatch(/failing more.*10 %/);
  expect(line('/orders/{id}').textContent).toMatch(/1\.0\/s.*0 %.*1\.0 ms.*2\.0 ms.*3\.0 ms.*0 B.*1\.0 KB/);
  await userEvent.click(within(table).getByRole('button', { name: 'p95' }));
  expect((await screen.findAllByRole('row')).slice(1).map((r) => r.dataset.endpoint)[0]).toBe('GET /slow');
  expect(router.state.location.search).toMatchObject({ sort: 'p95' });
  await userEvent.click(within(line('/bad')).getByRole('link', { name: /10 %/ }));
  await screen.findByText('another page: /');
  expect(router.state.location.search).toMatchObject({ q: 'app:shop method:GET endpoint:"/bad" (status:5xx OR error:*)' });
});

test('U60: the map says in words what the picture says, and of one node when it is chosen', async () => {
  serve((path) =>
    path === 'stats/map'
      ? { from: new Date(Date.now() - 90_000).toISOString(), to: null, edges: [edge({}), edge({ caller: 'shop', callee: 'db', errors: 45 }), edge({ caller: '10.0.0.9', callee: 'web' })], more: false, sampled: false, partial: false, partial_reason: '' }
      : path === 'fields'
        ? { fields: [] }
        : undefined,
  );
  const router = showAt('/map?from=1h', Map, readSumsSearch);
  const table = await screen.findByRole('table', { name: 'Who calls whom, the most frequent first' });
  expect(within(table).getAllByRole('row').length).toBe(4);
  expect(table.textContent).toContain('50 %');
  const node = screen.getByRole('button', { name: 'db' });
  node.focus();
  await userEvent.keyboard('{Enter}');
  expect(node.getAttribute('aria-pressed')).toBe('true');
  expect(within(table).getAllByRole('row').length).toBe(2);
  await userEvent.click(screen.getByRole('button', { name: 'Show all' }));
  expect(within(table).getAllByRole('row').length).toBe(4);
  await userEvent.click(within(table).getByRole('link', { name: 'web' }));
  await screen.findByText('another page: /');
  expect(router.state.location.search).toMatchObject({ q: 'app:web client:10.0.0.9 protocol:http', from: '1h' });
});

test('a query that is refused is underlined, and never answered as if there were none', async () => {
  const calls = serve((path) =>
    path === 'query'
      ? { query: '', mistake: { message: 'Unknown field "stauts"', column: 1, length: 6, expected: '', suggestion: 'status' } }
      : path === 'fields'
        ? { fields: [] }
        : problem(400, {}),
  );
  showAt('/endpoints?q=stauts:500', Endpoints, readSumsSearch);
  await screen.findAllByText(/Unknown field "stauts" at column 1/);
  expect(calls.some((c) => c.includes('stats/endpoints'))).toBe(false);
  expect(screen.queryByRole('table')).toBeNull();
});
