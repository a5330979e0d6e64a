import { screen, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { expect, test, vi } from 'vitest';
import type { Ledger as LedgerDocument, Why } from '../api/types';
import { readLedgerSearch } from '../lib/search';
import { serve, showAt } from '../test-kit';
import { Ledger, ledgerText } from './Ledger';

const none = { seen: 0, stored: 0, filtered: {}, sampled: 0, dropped: [], in_flight: 0, unknown: 0, unaccounted: 0 };
const place = { cluster: 'prod', namespace: 'shop', app: 'checkout' };

const document: LedgerDocument = {
  since: '2026-11-23T11:00:00Z',
  from: '2026-11-23T12:00:00Z',
  to: '2026-11-23T12:15:00Z',
  step_ns: 6e10,
  holds: true,
  reasons: [],
  total: { ...none, seen: 1100, stored: 1000, filtered: { health_check: 40 }, dropped: [{ hop: 'proxy', reason: 'memory', pairs: 50 }], unknown: 10 },
  apps: [
    { ...place, holds: true, ...none, seen: 1000, stored: 910, filtered: { health_check: 40 }, dropped: [{ hop: 'proxy', reason: 'memory', pairs: 50 }] },
    { ...place, app: 'catalog', holds: true, ...none, seen: 100, stored: 90, unknown: 10 },
  ],
  steps: [{ ...place, ...none, time: '2026-11-23T12:01:00Z', seen: 60, stored: 10, dropped: [{ hop: 'proxy', reason: 'memory', pairs: 50 }] }],
  gaps: [
    { ...place, from: '2026-11-23T12:01:00Z', to: '2026-11-23T12:01:30Z', proxy_id: 'checkout-1', epoch: 'e1', hop: 'proxy', reason: 'memory', text: 'Its memory was full.', pairs: 50, bound: 'exact' },
    { ...place, app: 'catalog', from: '2026-11-23T12:05:00Z', to: '2026-11-23T12:05:45Z', proxy_id: 'catalog-1', epoch: 'e2', hop: 'none', reason: 'died', text: '', pairs: 10, bound: 'at_most' },
  ],
  deaths: [{ ...place, app: 'catalog', proxy_id: 'catalog-1', epoch: 'e2', at_most: 10, last_report: '2026-11-23T12:05:00Z', ended: '2026-11-23T12:05:45Z', text: 'at most 10 up to its last report at 12:05:00, unknown from there to its end' }],
  partial: false,
  processes: 2,
  folded: 0,
};

function setUp(ledger: LedgerDocument, address = '/ledger', why?: Why) {
  const calls = serve((path) => (path === 'ledger' ? ledger : path === 'why' ? why : path === 'query' ? { mistake: null } : undefined));
  const router = showAt(address, Ledger, readLedgerSearch);
  return { calls, router };
}

test('the sum, what it is made of, why pairs were dropped and what to do', async () => {
  setUp(document);
  expect((await screen.findByTestId('verdict')).textContent).toContain('Every pair is accounted for; 50 of them were dropped.');
  expect(screen.getByText('1,100 seen = 1,000 stored + 40 filtered (health_check 40) + 50 dropped (proxy · memory 50) + 10 unknown')).toBeTruthy();
  const why = screen.getByRole('list', { name: 'Why pairs were dropped' });
  expect(why.textContent).toContain('CAPTURE_MEMORY_LIMIT');
});

test('what is not accounted for is the first thing that it says', async () => {
  setUp({ ...document, holds: false, reasons: ['3 pairs of checkout-1 are missing.'], total: { ...document.total, stored: 997, unaccounted: 3 } });
  const verdict = await screen.findByTestId('verdict');
  expect(verdict.textContent).toContain('3 of 1,100 pairs are not accounted for.');
  expect(verdict.querySelector('.tone-bad svg')).toBeTruthy();
  expect(screen.getByText('3 pairs of checkout-1 are missing.')).toBeTruthy();
});

test('gaps and deaths: exact counts and upper bounds are told apart in words', async () => {
  setUp(document);
  const gaps = within(await screen.findByRole('table', { name: 'Gaps' })).getAllByRole('row').slice(1).map((r) => r.textContent);
  // Newest first.
  expect(gaps[0]).toMatch(/at most 10.*nobody knows.*died with the proxy.*catalog/);
  expect(gaps[1]).toMatch(/50.*proxy.*memory.*checkout-1.*Its memory was full\./);
  expect(gaps[1]).not.toContain('at most');
  expect(screen.getByRole('table', { name: 'Proxies that ended without a goodbye' }).textContent).toContain('unknown from there to its end');
});

test('the gaps are marked in the chart, too', async () => {
  setUp(document);
  expect(await screen.findByRole('button', { name: /^50 pairs lost .*: proxy · memory$/ })).toBeTruthy();
  expect(screen.getByRole('button', { name: /^at most 10 pairs lost .*: died with the proxy$/ })).toBeTruthy();
});

test('range and app come from the address and go there', async () => {
  const { calls, router } = setUp(document, '/ledger?from=1h&app=checkout');
  await screen.findByTestId('verdict');
  expect(calls).toContain('/api/v1/ledger?from=1h&app=checkout');
  await userEvent.selectOptions(screen.getByRole('combobox', { name: 'App' }), 'catalog');
  await vi.waitFor(() => expect(router.state.location.search).toEqual({ from: '1h', app: 'catalog' }));
  await vi.waitFor(() => expect(calls).toContain('/api/v1/ledger?from=1h&app=catalog'));
});

test('asks where a request went, and shows the findings', async () => {
  const why: Why = {
    query: 'method:GET path:/api/orders/42',
    from: '2026-11-23T12:00:00Z',
    to: '2026-11-23T12:10:00Z',
    verdict: 'never_seen',
    findings: [
      {
        kind: 'never_seen', certain: true, text: 'No proxy saw it.', fix: 'Does it go to where a proxy listens?', pairs: [], count: 0, rule: '', hop: '', reason: '',
        proxies: [{ ...place, proxy_id: 'checkout-1', epoch: 'e1', state: 'connected', watching: true, since: '2026-11-23T11:00:00Z', until: null, seen: 7, listen: ':4143', upstream: '127.0.0.1:8080' }],
      },
      { kind: 'dropped', certain: false, text: '50 were dropped then.', fix: '', pairs: [], count: 50, rule: '', hop: 'proxy', reason: 'memory', proxies: [] },
    ],
  };
  const { calls, router } = setUp(document, '/ledger', why);
  await userEvent.type(await screen.findByRole('textbox', { name: 'Path' }), '/api/orders/42');
  await userEvent.type(screen.getByRole('combobox', { name: 'Method' }), 'get{Enter}');
  const answer = await screen.findByTestId('why');
  await vi.waitFor(() => expect(answer.textContent).toContain('never seen is where method:GET path:/api/orders/42 went'));
  await vi.waitFor(() => expect(answer.textContent).toContain('never seen'));
  expect(calls).toContain('/api/v1/why?q=path%3A%22%2Fapi%2Forders%2F42%22+method%3AGET&within=5m');
  expect(router.state.location.search).toEqual({ path: '/api/orders/42', method: 'GET' });
  const findings = within(answer).getAllByRole('listitem').map((li) => li.textContent);
  expect(findings[0]).toMatch(/certain.*No proxy saw it\..*Does it go to where a proxy listens\?.*:4143 → 127\.0\.0\.1:8080/);
  expect(findings[1]).toMatch(/possible.*50 were dropped then\./);
});

test('as text, with everything that was lost', () => {
  const text = ledgerText(document);
  expect(text.split('\n')[0]).toBe('Every pair is accounted for; 50 of them were dropped.');
  expect(text).toContain('all: 1,100 seen = 1,000 stored');
  expect(text).toContain('catalog catalog-1: at most 10 died with the proxy.');
  expect(text).toContain('ended catalog catalog-1: at most 10 up to its last report');
});

test('all of time begins where counting began', async () => {
  const { calls } = setUp(document, '/ledger?from=all');
  await screen.findByTestId('verdict');
  expect(calls).toContain('/api/v1/ledger?from=2026-11-23T11%3A00%3A00Z');
});
