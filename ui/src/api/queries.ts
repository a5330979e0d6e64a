import { keepPreviousData, queryOptions } from '@tanstack/react-query';
import { fieldOf } from '../lib/query';
import { rangeParams, type Range } from '../lib/range';
import { call, getJson } from './client';
import type { FieldsAnswer, Histogram, Info, Pair, PairPage, ProxiesAnswer } from './types';

/** Rows asked for at once: about ten screens, well under 300 KB. */
export const pageSize = 300;

export function fetchPage(
  q: string,
  range: Range,
  options: { cursor?: string; to?: string; limit?: number },
  signal?: AbortSignal,
): Promise<PairPage> {
  return getJson<PairPage>(
    'pairs',
    {
      q,
      ...rangeParams(range),
      ...(options.to ? { to: options.to } : {}),
      ...(options.cursor ? { cursor: options.cursor } : {}),
      limit: options.limit ?? pageSize,
    },
    signal,
  );
}

export function fetchHistogram(q: string, range: Range, buckets: number, signal?: AbortSignal): Promise<Histogram> {
  return getJson<Histogram>('stats/histogram', { q, ...rangeParams(range), buckets }, signal);
}

export const infoQuery = queryOptions({
  queryKey: ['info'],
  queryFn: ({ signal }) => getJson<Info>('info', undefined, signal),
  refetchInterval: 5000,
});

export const proxiesQuery = queryOptions({
  queryKey: ['proxies'],
  queryFn: ({ signal }) => getJson<ProxiesAnswer>('proxies', undefined, signal),
  refetchInterval: 2000,
});

export const pairQuery = (id: string) =>
  queryOptions({
    queryKey: ['pair', id],
    queryFn: ({ signal }) => getJson<Pair>(`pairs/${encodeURIComponent(id)}`, undefined, signal),
    // A stored pair does not change.
    staleTime: Infinity,
    gcTime: 60_000,
  });

export type Side = 'request' | 'response';

/** More than this is fetched and shown only when it is asked for. */
export const bigBody = 1_000_000;

export interface StoredBytes {
  size: number;
  /** Null where there are more than bigBody and nobody asked for that yet. */
  bytes: Uint8Array | null;
  /** How they relate to what was sent: "whole", "truncated"; "exact", "rebuilt", "redacted". */
  state: string;
}

/** Bytes of a stored message: its body, as it was or decoded, or all of it as stored. */
export const bytesQuery = (id: string, side: Side, what: 'body' | 'raw', decoded: boolean, big: boolean) =>
  queryOptions({
    queryKey: ['bytes', id, side, what, decoded, big],
    queryFn: async ({ signal }): Promise<StoredBytes> => {
      const stop = new AbortController();
      const response = await call(
        `pairs/${encodeURIComponent(id)}/${side}/${what}`,
        decoded ? { decoded: 1 } : {},
        { signal: AbortSignal.any([signal, stop.signal]) },
      );
      const state = response.headers.get(what === 'raw' ? 'weir-raw' : 'weir-body') ?? '';
      const announced = Number(response.headers.get('content-length'));
      if (!big && announced > bigBody) {
        stop.abort();
        return { size: announced, bytes: null, state };
      }
      const bytes = new Uint8Array(await response.arrayBuffer());
      return { size: bytes.length, bytes, state };
    },
    staleTime: Infinity,
    // Bodies are large; the few last seen are enough to go back and forth.
    gcTime: 20_000,
  });

export async function fetchCurl(id: string): Promise<string> {
  return (await call(`pairs/${encodeURIComponent(id)}/curl`)).text();
}

/** Number of pairs in a range; for "no results" only. */
export const countQuery = (q: string, range: Range, enabled: boolean) =>
  queryOptions({
    queryKey: ['count', q, range.from, range.to],
    queryFn: ({ signal }) => fetchHistogram(q, range, 1, signal),
    enabled,
    staleTime: 5000,
    placeholderData: keepPreviousData,
  });

/** The newest pair that matches, at any time; for "no results" only. */
export const newestQuery = (q: string, enabled: boolean) =>
  queryOptions({
    queryKey: ['newest', q],
    queryFn: ({ signal }) => fetchPage(q, { from: 'all' }, { limit: 1 }, signal),
    enabled,
    staleTime: 5000,
  });

/** Field names for completion, with what the analyzer says of them. */
export const fieldsQuery = queryOptions({
  queryKey: ['fields'],
  queryFn: async ({ signal }) => (await getJson<FieldsAnswer>('fields', undefined, signal)).fields.map(fieldOf),
  staleTime: Infinity,
  gcTime: Infinity,
});
