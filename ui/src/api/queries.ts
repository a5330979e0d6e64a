import { keepPreviousData, queryOptions, type QueryClient } from '@tanstack/react-query';
import { loadPair } from '../lib/body-thread';
import { formatCount } from '../lib/format';
import { durationClause, type Box } from '../lib/heatmap';
import { fieldOf, requestQuery } from '../lib/query';
import { rangeParams, type Range } from '../lib/range';
import { call, getBytes, getJson, Problem } from './client';
import type { DifferenceRanking, Doctor, Endpoints, ErrorGroups, FieldsAnswer, HeatmapCounts, Histogram, Info, Ledger, PairPage, ProxiesAnswer, QueryCheck, ServiceMap, Why } from './types';

/** Rows asked for at once: about ten screens, well under 300 KB. */
export const pageSize = 300;

/** What the analyzer makes of a query. */
export const checkQuery = (q: string) =>
  queryOptions({
    queryKey: ['check', q],
    queryFn: ({ signal }) => getJson<QueryCheck>('query', { q }, signal),
    // It changes only where another analyzer takes over.
    staleTime: 300_000,
    gcTime: 300_000,
  });

/** Longer ones, in bytes, every call refuses (maxLength of q in the API's description). */
const longestQuery = 8192;

/**
 * Resolves once the analyzer has found the query right; else rejects as the
 * calls that want it would. Nothing is asked with a query before this: a
 * browser writes every answer of status 400 into its console as an error, and
 * a reader's slip is none.
 */
export async function rightQuery(client: QueryClient, q: string, signal?: AbortSignal): Promise<void> {
  if (q === '') return;
  const bytes = new TextEncoder().encode(q).length;
  if (bytes > longestQuery) {
    throw new Problem(400, { detail: `The query has ${formatCount(bytes)} bytes; it may have ${formatCount(longestQuery)}.` });
  }
  const { mistake } = await client.fetchQuery(checkQuery(q));
  signal?.throwIfAborted();
  if (mistake) {
    throw new Problem(400, {
      type: 'urn:weir:problem:query',
      detail: `${mistake.message} at column ${mistake.column}.`,
      errors: [mistake],
    });
  }
}

export async function fetchPage(
  client: QueryClient,
  q: string,
  range: Range,
  options: { cursor?: string; to?: string; limit?: number },
  signal?: AbortSignal,
): Promise<PairPage> {
  await rightQuery(client, q, signal);
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

export async function fetchHistogram(
  client: QueryClient,
  q: string,
  range: Range,
  buckets: number,
  signal?: AbortSignal,
): Promise<Histogram> {
  await rightQuery(client, q, signal);
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

/**
 * What became of what was seen: all apps, or one. `every` is how often it is
 * asked for again, in milliseconds. A range that is open at its start begins
 * at `start`, an RFC 3339 time; nothing is asked for until that is known.
 */
export const ledgerQuery = (range: Range, app: string | undefined, every: number | false, start?: string) => {
  const from = range.from === 'all' ? start : range.from;
  return queryOptions({
    queryKey: ['ledger', from, range.to, app],
    queryFn: ({ signal }) => getJson<Ledger>('ledger', { from, to: range.to, app }, signal),
    enabled: from !== undefined,
    refetchInterval: every,
    placeholderData: keepPreviousData,
  });
};

/** Sums over a range that is not over yet are made again this often, in milliseconds. */
const sumsRefreshMs = 10_000;

/** Rates, errors and latencies of the most frequent endpoints. */
export const endpointsQuery = (q: string, range: Range, enabled = true) =>
  queryOptions({
    queryKey: ['endpoints', q, range.from, range.to],
    queryFn: async ({ client, signal }) => {
      await rightQuery(client, q, signal);
      return getJson<Endpoints>('stats/endpoints', { q, ...rangeParams(range), limit: 500 }, signal);
    },
    enabled,
    refetchInterval: range.to ? false : sumsRefreshMs,
    placeholderData: keepPreviousData,
    gcTime: 60_000,
  });

/** Who calls whom. */
export const mapQuery = (q: string, range: Range) =>
  queryOptions({
    queryKey: ['map', q, range.from, range.to],
    queryFn: async ({ client, signal }) => {
      await rightQuery(client, q, signal);
      return getJson<ServiceMap>('stats/map', { q, ...rangeParams(range), limit: 200 }, signal);
    },
    refetchInterval: range.to ? false : sumsRefreshMs,
    placeholderData: keepPreviousData,
    gcTime: 60_000,
  });

/** What is read from bodies is written down each time: it is asked for again more rarely. */
const errorsRefreshMs = 60_000;

/** What failed, grouped by what it says; `clientErrors` takes status 4xx along. */
export const errorsQuery = (q: string, range: Range, clientErrors: boolean, enabled = true) =>
  queryOptions({
    queryKey: ['errors', q, range.from, range.to, clientErrors],
    queryFn: async ({ client, signal }) => {
      await rightQuery(client, q, signal);
      return getJson<ErrorGroups>('stats/errors', { q, ...rangeParams(range), limit: 200, client_errors: clientErrors ? 1 : undefined }, signal);
    },
    enabled,
    refetchInterval: range.to ? false : errorsRefreshMs,
    staleTime: range.to ? Infinity : 0,
    placeholderData: keepPreviousData,
    gcTime: 60_000,
  });

/** Exchanges by time and duration. */
export const heatmapQuery = (q: string, range: Range) =>
  queryOptions({
    queryKey: ['heatmap', q, range.from, range.to],
    queryFn: async ({ client, signal }) => {
      await rightQuery(client, q, signal);
      return getJson<HeatmapCounts>('stats/heatmap', { q, ...rangeParams(range), steps: 120 }, signal);
    },
    refetchInterval: range.to ? false : sumsRefreshMs,
    placeholderData: keepPreviousData,
    gcTime: 60_000,
  });

/** What the exchanges in a box of the heatmap have more often than the others of a query; null: there is no box. */
export const differenceQuery = (q: string, range: Range, box: Box | null) =>
  queryOptions({
    queryKey: ['difference', q, range.from, range.to, box],
    queryFn: async ({ client, signal }) => {
      await rightQuery(client, q, signal);
      return getJson<DifferenceRanking>('stats/difference', { q, ...rangeParams(range), ...(box ? { in: durationClause(box), in_from: box.from, in_to: box.to } : {}) }, signal);
    },
    enabled: box !== null,
    placeholderData: keepPreviousData,
    gcTime: 60_000,
  });

/** Sums only: those do not depend on the range, and the shortest has the fewest steps. */
export const sumsQuery = ledgerQuery({ from: '1m' }, undefined, 2000);

/** What somebody asks after: a request that they miss. */
export interface WhyQuestion {
  path: string;
  method?: string;
  app?: string;
  /** An RFC 3339 time; absent: now. */
  around?: string;
  /** How far from that to look, on both sides: "5m". */
  within?: string;
}

export const whyQuery = ({ path, method, app, around, within }: WhyQuestion) =>
  queryOptions({
    queryKey: ['why', path, method, app, around, within],
    queryFn: async ({ client, signal }) => {
      const q = requestQuery(path, method, app);
      await rightQuery(client, q, signal);
      return getJson<Why>('why', { q, around, within }, signal);
    },
    staleTime: Infinity,
    gcTime: 0,
  });

export const doctorQuery = queryOptions({
  queryKey: ['doctor'],
  queryFn: ({ signal }) => getJson<Doctor>('doctor', undefined, signal),
  // It dials and looks at disks, so not as often as what is counted anyway.
  refetchInterval: 15_000,
});

export const pairQuery = (id: string) =>
  queryOptions({
    queryKey: ['pair', id],
    // Its bodies may be large: then it is read beside the page, not by it.
    queryFn: async ({ signal }) => loadPair(await getBytes(`pairs/${encodeURIComponent(id)}`, signal)),
    // A stored pair does not change.
    staleTime: Infinity,
    gcTime: 60_000,
  });

export type Side = 'request' | 'response';

/** More than this is fetched and shown only when it is asked for. */
export const bigBody = 1_000_000;

export interface StoredBytes {
  size: number;
  /** There are more than size; nobody has counted how many. */
  more: boolean;
  /** Null where there are more than bigBody and nobody asked for that yet. */
  bytes: Uint8Array | null;
  /** How they relate to what was sent: "whole", "truncated"; "exact", "rebuilt", "redacted". */
  state: string;
}

/** The bytes of an answer, or null where there are more than these. */
async function readAtMost(response: Response, most: number): Promise<Uint8Array | null> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  const reader = response.body?.getReader();
  for (let next = await reader?.read(); next && !next.done; next = await reader?.read()) {
    length += next.value.length;
    if (length > most) return null;
    chunks.push(next.value);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
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
      // What is compressed on its way does not say how long it is: then it is read until it is too much.
      const bytes = big ? new Uint8Array(await response.arrayBuffer()) : announced > bigBody ? null : await readAtMost(response, bigBody);
      if (bytes) return { size: bytes.length, more: false, bytes, state };
      stop.abort();
      return { size: Math.max(announced, bigBody), more: !(announced > bigBody), bytes: null, state };
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
    queryFn: ({ client, signal }) => fetchHistogram(client, q, range, 1, signal),
    enabled,
    staleTime: 5000,
    placeholderData: keepPreviousData,
  });

/** The newest pair that matches, at any time; for "no results" only. */
export const newestQuery = (q: string, enabled: boolean) =>
  queryOptions({
    queryKey: ['newest', q],
    queryFn: ({ client, signal }) => fetchPage(client, q, { from: 'all' }, { limit: 1 }, signal),
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
