import type { Message, Pair } from '../api/types';
import { headerValue } from './body';
import { quoteValue } from './query';

/** A query that finds what belongs together with a pair. */
export interface Related {
  /** Finishes "Everything …". */
  what: string;
  q: string;
}

/** Headers that carry the id of a trace, with how to find it in them. */
const traceHeaders: readonly (readonly [name: string, id: RegExp])[] = [
  ['traceparent', /^[0-9a-f]{2}-([0-9a-f]{32})-/i],
  ['x-b3-traceid', /^([0-9a-f]{16,32})$/i],
  ['b3', /^([0-9a-f]{16,32})-/i],
  ['uber-trace-id', /^([0-9a-f]{16,32}):/i],
  ['x-amzn-trace-id', /Root=([\w-]+)/],
  ['x-cloud-trace-context', /^([0-9a-f]{32})/i],
  ['x-request-id', /^([\w.-]{8,})$/],
  ['x-correlation-id', /^([\w.-]{8,})$/],
];
const sessionCookie = /(?:^|;\s*)((?:[\w.-]*(?:sess|sid|session)[\w.-]*)=[^;\s]{4,})/i;

/** A regular expression, between the language's slashes, that finds exactly this text. */
const literally = (text: string) => `/${text.replace(/[\\^$.|?*+()[\]{}/]/g, '\\$&')}/`;

/** What is on the same connection, in the same trace, of the same session. */
export function relatedTo(pair: Pair): Related[] {
  const out: Related[] = [{ what: 'on this connection', q: connectionQuery(pair) }];
  const message: Pick<Message, 'headers'> = pair.request ?? { headers: [] };
  for (const [name, pattern] of traceHeaders) {
    const id = pattern.exec(headerValue(message, name) ?? '')?.[1];
    if (!id) continue;
    out.push({ what: name === 'x-request-id' || name === 'x-correlation-id' ? `with this ${name}` : 'of this trace', q: `header.${name}:${literally(id)}` });
    break;
  }
  const cookie = sessionCookie.exec(headerValue(message, 'cookie') ?? '')?.[1];
  const authorization = headerValue(message, 'authorization');
  if (cookie) out.push({ what: 'of this session', q: `request.header.cookie:${literally(cookie)}` });
  else if (authorization) out.push({ what: 'of this session', q: `request.header.authorization:${quoteValue(authorization)}` });
  return out;
}

/** The number of a connection is its proxy's: another run of the proxy begins again, from other ports. */
export function connectionQuery(pair: Pick<Pair, 'pod' | 'conn' | 'client'>): string {
  return `pod:${quoteValue(pair.pod)} conn:${pair.conn}${pair.client ? ` client:${quoteValue(pair.client)}` : ''}`;
}
