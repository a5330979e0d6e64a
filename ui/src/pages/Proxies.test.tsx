import { screen, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { expect, test } from 'vitest';
import type { ForwarderState, ProxiesAnswer, ProxyState } from '../api/types';
import { serve, showAt } from '../test-kit';
import { Proxies } from './Proxies';

const proxy = (change: Partial<ProxyState>): ProxyState => ({
  app: 'checkout',
  capture_on: true,
  clock_skew_ns: 0,
  cluster: 'prod',
  counters: { acked: 90, batched: 95, bodies_shed: 0, bytes_client_to_server: 0, bytes_server_to_client: 0, conns_accepted: 3, conns_failed: 0, dropped: {}, sampled: 0, seen: 100 },
  duplicate_id: false,
  ended: null,
  epoch: 'e',
  epoch_started: '2026-11-23T12:00:00Z',
  forwarder_id: 'f',
  keep_one_in: 1,
  last_seen: new Date().toISOString(),
  listen_addr: ':4143',
  memory_limit: 64 << 20,
  memory_used: 1000,
  namespace: 'shop',
  open_conns: 2,
  pod: 'checkout-1',
  protocols: { http: 99, tls: 1 },
  proxy_id: 'checkout-1',
  ring_limit: 0,
  ring_used: 0,
  registered: '2026-11-23T12:00:00Z',
  skewed: false,
  state: 'connected',
  upstream_addr: '127.0.0.1:8080',
  upstream_error: '',
  version: '0.1.0',
  ...change,
});

const forwarder: ForwarderState = {
  clock_skew_ns: 0,
  cluster: 'prod',
  connected: true,
  destinations: [],
  dlp_config: '',
  dropped: {},
  filter_rule: 'standard',
  filter_rules: [],
  filtered: { health_check: 12 },
  forwarder_id: 'f',
  last_seen: new Date().toISOString(),
  proxies_omitted: 0,
  proxies_unauthenticated: false,
  sampling: {},
  skewed: false,
  spool: { bytes_limit: 1e10, bytes_used: 4e8, exported_offset: 10, next_offset: 14, oldest_offset: 1 },
  started: null,
  telemetry: null,
  version: '0.1.0',
};

function setUp(answer: ProxiesAnswer) {
  serve((path) => (path === 'proxies' ? answer : undefined));
  showAt('/proxies', Proxies);
}

const rowOf = (id: string) => document.querySelector(`[data-proxy="${id}"]`) as HTMLElement;

test('each state by shape and word; those that are gone stay listed', async () => {
  setUp({
    forwarders: [forwarder],
    proxies: [proxy({}), proxy({ proxy_id: 'b', state: 'away' }), proxy({ proxy_id: 'c', state: 'reaped' }), proxy({ proxy_id: 'd', state: 'stopped' }), proxy({ proxy_id: 'e', state: 'unknown' })],
  });
  const here = await screen.findByRole('table', { name: 'Proxies' });
  const gone = screen.getByRole('table', { name: 'Proxies that are no longer here' });
  for (const [id, table, state] of [['checkout-1', here, 'connected'], ['b', here, 'away'], ['e', here, 'unknown'], ['c', gone, 'reaped'], ['d', gone, 'stopped']] as const) {
    expect(table.contains(rowOf(id)), id).toBe(true);
    expect(within(rowOf(id)).getByText(state).querySelector('svg')).toBeTruthy();
  }
});

test('trouble is named, with the next step', async () => {
  setUp({
    forwarders: [],
    proxies: [
      proxy({ upstream_error: 'dial: connection refused', skewed: true, clock_skew_ns: -4_200_000_000, duplicate_id: true, capture_on: false }),
      proxy({ proxy_id: 'b', counters: { ...proxy({}).counters, dropped: { memory: 88, ring: 3 } } }),
    ],
  });
  await screen.findByRole('table', { name: 'Proxies' });
  const text = document.body.textContent ?? '';
  expect(text).toContain('In a container, localhost is that container alone');
  expect(text).toContain('Clock behind by 4.20 s');
  expect(text).toContain('Two processes use this id');
  expect(text).toContain('Capture is off');
  expect(text).toContain('88 proxy · memory, 3 proxy · ring');
  expect(text).toContain('No forwarder has connected');
});

test('all of a proxy is one click away', async () => {
  setUp({ forwarders: [forwarder], proxies: [proxy({})] });
  await userEvent.click(await screen.findByRole('button', { name: 'Show all of checkout-1' }));
  expect(screen.getByText('Bodies not kept')).toBeTruthy();
  expect(screen.getByText('3 accepted, 0 failed')).toBeTruthy();
});

test('a sampled proxy, its ring and its end are told', async () => {
  const ended = new Date(Date.now() - 120_000).toISOString();
  setUp({
    forwarders: [forwarder],
    proxies: [
      proxy({ keep_one_in: 10, ring_used: 5e6, ring_limit: 1e9, counters: { ...proxy({}).counters, sampled: 900 } }),
      proxy({ proxy_id: 'gone', state: 'reaped', ended }),
    ],
  });
  await screen.findByRole('table', { name: 'Proxies' });
  expect(document.body.textContent).toContain('one connection in 10 is kept');
  expect(document.body.textContent).toContain('900 pairs were left out so far');
  expect(within(rowOf('checkout-1')).getByText('5.0 MB')).toBeTruthy();
  expect(rowOf('gone').textContent).toContain('reaped 2 m ago');
});

test('a forwarder tells its destinations, rules, sampling and what it measured', async () => {
  setUp({
    forwarders: [
      {
        ...forwarder,
        destinations: [
          { name: 'analyzer', connected: true, backlog_bytes: 12e6, backlog_eta_ns: 40e9, dropped: {}, error: '' },
          { name: 'archive', connected: false, backlog_bytes: 3e9, backlog_eta_ns: null, dropped: {}, error: 'dial: connection refused' },
        ],
        filter_rules: [{ name: 'health_check', expression: 'path:/healthz' }],
        sampling: { checkout: 10, '*': 2 },
        telemetry: { at: new Date().toISOString(), interval_ns: 60e9, pairs_per_second: 12.34, bytes_per_second: 5e5, memory_resident: 5e7, memory_heap: 2e7, cpu_time_ns: 9e9, goroutines: 40, open_files: 12, proxies_connected: 3 },
      },
    ],
    proxies: [],
  });
  await userEvent.click(await screen.findByRole('button', { name: 'Show all of forwarder prod' }));
  const text = document.body.textContent ?? '';
  for (const want of ['connected, 12 MB wait, done in 40.0 s', '3.0 GB wait and do not get less', 'dial: connection refused', 'path:/healthz (12 pairs left out)', 'checkout 1/10, all others 1/2', '12.3 pairs/s, 500 KB/s']) {
    expect(text).toContain(want);
  }
});
