import { QueryClient } from '@tanstack/react-query';
import { expect, test, vi } from 'vitest';
import { Problem } from '../api/client';
import type { QueryMistake } from '../api/types';
import { serve } from '../test-kit';
import { pair } from './fake';
import { makeFeed } from '.';

const mistake: QueryMistake = { column: 1, length: 6, message: 'Unknown field "stauts"', expected: '', suggestion: 'status' };

/** An analyzer that knows no field "stauts"; held holds answers back, by the query that was to be checked. */
function analyzer(held: Record<string, Promise<void>> = {}) {
  return serve(async (path, url) => {
    const q = url.searchParams.get('q') ?? '';
    if (path === 'query') {
      await held[q];
      return q.includes('stauts') ? { canonical: null, mistake } : { canonical: q, mistake: null };
    }
    if (path === 'tail') return new Response(new ReadableStream());
    if (path === 'pairs') return { pairs: [pair(1)], next_cursor: null, partial: false };
    return { from: pair(0).time, to: pair(2).time, step_ns: 2e9, buckets: [], total: 1, partial: false };
  });
}

/** The held answer about this query has come, and whoever waited for it has seen it. */
async function checked(client: QueryClient, q: string) {
  await vi.waitFor(() => expect(client.getQueryState(['check', q])?.status).toBe('success'));
  await new Promise((resolve) => setTimeout(resolve, 0));
}

const view = (q: string) => ({ q, range: { from: '15m' } });

test('nothing is asked with a query that has a mistake', async () => {
  const calls = analyzer();
  const feed = makeFeed(new QueryClient());
  feed.open(view('stauts:500'));
  await vi.waitFor(() => expect(feed.error).toBeInstanceOf(Problem));
  expect((feed.error as Problem).mistakes).toEqual([mistake]);
  expect(feed.tail.kind).toBe('refused');
  expect(calls).toEqual(['/api/v1/query?q=stauts%3A500']);
});

test('a query is found right once, then asked', async () => {
  const calls = analyzer();
  const feed = makeFeed(new QueryClient());
  feed.open(view('status:500'));
  await vi.waitFor(() => expect(feed.chart).not.toBeNull());
  expect(feed.total).toBe(1);
  feed.reload();
  await vi.waitFor(() => expect(feed.loading).toBe(false));
  expect(calls[0]).toBe('/api/v1/query?q=status%3A500');
  expect(calls.filter((c) => c.startsWith('/api/v1/query'))).toHaveLength(1);
  expect(calls.filter((c) => c.startsWith('/api/v1/tail'))).toHaveLength(2);
  feed.close();
});

test('a late answer about an older query is not taken for the newer one', async () => {
  let answer = () => {};
  const calls = analyzer({ 'stauts:500': new Promise((resolve) => (answer = resolve)) });
  const client = new QueryClient();
  const feed = makeFeed(client);
  feed.open(view('stauts:500'));
  feed.open(view('status:500'));
  await vi.waitFor(() => expect(feed.shown?.q).toBe('status:500'));
  answer();
  await checked(client, 'stauts:500');
  expect([feed.error, feed.tail.kind, feed.total]).toEqual([null, 'live', 1]);
  expect(calls.filter((c) => c.includes('stauts'))).toEqual(['/api/v1/query?q=stauts%3A500']);
  feed.close();
});

test('a late answer about an older, right query does not hide a mistake in the newer one', async () => {
  let answer = () => {};
  analyzer({ 'status:500': new Promise((resolve) => (answer = resolve)) });
  const client = new QueryClient();
  const feed = makeFeed(client);
  feed.open(view('status:500'));
  feed.open(view('stauts:500'));
  await vi.waitFor(() => expect(feed.error).toBeInstanceOf(Problem));
  answer();
  await checked(client, 'status:500');
  expect(feed.error).toBeInstanceOf(Problem);
  expect(feed.shown).toBeNull();
});

test('a query that is too long is not sent', async () => {
  const calls = analyzer();
  const feed = makeFeed(new QueryClient());
  feed.open(view('ä'.repeat(5000)));
  await vi.waitFor(() => expect(feed.error?.message).toBe('The query has 10,000 bytes; it may have 8,192.'));
  expect(calls).toEqual([]);
});
