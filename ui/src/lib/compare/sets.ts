import type { components } from '../../api/schema';
import { formatCount } from '../format';
import type { Range } from '../range';
import { parseMs } from '../time';
import { addClause, quoteValue } from '../query';

type Endpoint = components['schemas']['Endpoint'];

/** One endpoint in both ranges; absent where it had no traffic. */
export interface EndpointLine {
  app: string;
  host: string;
  method: string;
  endpoint: string;
  a: Endpoint | undefined;
  b: Endpoint | undefined;
}

export function lineKey(l: Pick<EndpointLine, 'app' | 'host' | 'method' | 'endpoint'>): string {
  return `${l.method} ${l.endpoint} ${l.host} ${l.app}`;
}

/** How long a range is, in seconds; null for one that is open. */
export function rangeSeconds(range: Range, now: number): number | null {
  const units: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };
  const [, count, unit = ''] = /^(\d+)([smhd])$/.exec(range.from) ?? [];
  const end = range.to ? parseMs(range.to) : now;
  const seconds = count ? Number(count) * (units[unit] ?? Number.NaN) : (end - parseMs(range.from)) / 1000;
  return seconds > 0 ? seconds : null;
}

/** Pairs a minute, as people read it. */
export function perMinute(pairs: number | undefined, seconds: number | null): string {
  if (pairs === undefined || seconds === null) return '–';
  const rate = (pairs * 60) / seconds;
  return rate >= 10 ? formatCount(rate) : rate.toFixed(rate >= 1 ? 1 : 2);
}

/** How much is different about a line: what somebody wants to see first. */
function weight({ a, b }: EndpointLine): number {
  if (!a || !b) return 2;
  const share = (e: Endpoint) => (e.pairs > 0 ? e.errors / e.pairs : 0);
  const slow = a.p95_ns && b.p95_ns ? Math.abs(Math.log2(b.p95_ns / a.p95_ns)) / 4 : 0;
  return Math.abs(share(b) - share(a)) + Math.min(slow, 1);
}

/** Endpoints of both, those that differ most first. */
export function joinEndpoints(left: readonly Endpoint[], right: readonly Endpoint[]): EndpointLine[] {
  const lines = new Map<string, EndpointLine>();
  for (const [side, list] of [['a', left], ['b', right]] as const) {
    for (const e of list) {
      const key = lineKey(e);
      const line = lines.get(key) ?? { app: e.app, host: e.host, method: e.method, endpoint: e.endpoint, a: undefined, b: undefined };
      line[side] = e;
      lines.set(key, line);
    }
  }
  return [...lines.values()].toSorted((x, y) => weight(y) - weight(x) || (y.b?.pairs ?? 0) - (x.b?.pairs ?? 0));
}

/** The query for one line of the comparison. */
export function lineQuery(q: string, { app, host, method, endpoint }: EndpointLine): string {
  let out = q;
  for (const [field, value] of [['app', app], ['host', host], ['method', method], ['endpoint', endpoint]] as const) {
    if (value !== '') out = addClause(out, `${field}:${quoteValue(value)}`);
  }
  return out;
}
