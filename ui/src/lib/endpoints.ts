import type { Endpoint } from '../api/types';
import { quoteValue } from './query';

/** What is worth a second look about an endpoint, next to the time before. */
export type Change = 'new' | 'failing' | 'slower';

/** Fewer requests say nothing about how fast something is, or how often it fails. */
const enough = 20;
/** Of what it was: slower from here, failing more from here. */
const slower = 1.5;
const failing = 2;
/** Errors below this share are of every day. */
const share = 0.01;

export const endpointKey = (e: Pick<Endpoint, 'app' | 'host' | 'method' | 'endpoint'>): string => JSON.stringify([e.app, e.host, e.method, e.endpoint]);

export const errorShare = (e: Pick<Endpoint, 'errors' | 'pairs'>): number => (e.pairs > 0 ? e.errors / e.pairs : 0);

/** How an endpoint differs from what it was in the time before; null: as it was. */
export function changeOf(now: Endpoint, before: Endpoint | undefined): Change | null {
  if (!before) return 'new';
  if (now.pairs >= enough && errorShare(now) > share && errorShare(now) >= failing * errorShare(before)) return 'failing';
  if (now.pairs >= enough && before.pairs >= enough && now.p95_ns && before.p95_ns && now.p95_ns >= slower * before.p95_ns) return 'slower';
  return null;
}

/** The query for the exchanges of an endpoint. */
export function endpointClauses(e: Pick<Endpoint, 'app' | 'host' | 'method' | 'endpoint'>): string[] {
  return [
    ...(e.app ? [`app:${quoteValue(e.app)}`] : []),
    ...(e.host ? [`host:${quoteValue(e.host)}`] : []),
    ...(e.method ? [`method:${quoteValue(e.method)}`] : []),
    ...(e.endpoint ? [`endpoint:${quoteValue(e.endpoint, true)}`] : []),
  ];
}

export const endpointSorts = {
  endpoint: (a, b) => a.endpoint.localeCompare(b.endpoint) || a.method.localeCompare(b.method),
  app: (a, b) => a.app.localeCompare(b.app),
  pairs: (a, b) => b.pairs - a.pairs,
  errors: (a, b) => errorShare(b) - errorShare(a) || b.errors - a.errors,
  p50: (a, b) => (b.p50_ns ?? -1) - (a.p50_ns ?? -1),
  p95: (a, b) => (b.p95_ns ?? -1) - (a.p95_ns ?? -1),
  p99: (a, b) => (b.p99_ns ?? -1) - (a.p99_ns ?? -1),
  sent: (a, b) => b.request_bytes / b.pairs - a.request_bytes / a.pairs,
  received: (a, b) => b.response_bytes / b.pairs - a.response_bytes / a.pairs,
  last: (a, b) => (b.last ?? '').localeCompare(a.last ?? ''),
} satisfies Record<string, (a: Endpoint, b: Endpoint) => number>;
export type EndpointSort = keyof typeof endpointSorts;
