import { base64Bytes, textOf } from './body';
import { formatAgo, formatMoment } from './format';
import { protobufText, readProtobuf } from './protobuf';

/** A value in the words of what it is. */
export interface Explained {
  title: 'JWT' | 'cookies' | 'cookie' | 'time' | 'base64' | 'protobuf' | 'credentials';
  rows: readonly (readonly [name: string, value: string])[];
  /** One sentence that goes with it; empty where there is none. */
  note: string;
}

const jwt = /^(?:Bearer\s+)?(eyJ[\w-]+)\.([\w-]+)\.([\w-]*)$/;
const rfcTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/;
const httpDate = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$/;
/** 2001-09-09 and 2128-06-11, in seconds. */
const earliest = 1_000_000_000;
const latest = 5_000_000_000;

function fromBase64(text: string): Uint8Array | null {
  const plain = text.replaceAll('-', '+').replaceAll('_', '/').replace(/=+$/, '');
  if (!/^[A-Za-z0-9+/]+$/.test(plain) || plain.length % 4 === 1) return null;
  try {
    return base64Bytes(plain + '='.repeat((4 - (plain.length % 4)) % 4));
  } catch {
    return null;
  }
}

function momentRows(ms: number, now: number): (readonly [string, string])[] {
  return [
    ['UTC', `${formatMoment(ms, 'utc')}`],
    ['local', `${formatMoment(ms, 'local')}`],
    ['that is', ms > now + 1500 ? `in ${formatAgo(now, ms).replace(' ago', '')}` : formatAgo(ms, now)],
  ];
}

function explainJwt(value: string, now: number): Explained | null {
  const m = jwt.exec(value);
  if (!m) return null;
  const parts = [m[1], m[2]].map((part) => {
    const bytes = fromBase64(part as string);
    const text = bytes && textOf(bytes, false);
    try {
      return text ? (JSON.parse(text) as Record<string, unknown>) : null;
    } catch {
      return null;
    }
  });
  const [head, claims] = parts;
  if (!head || typeof head !== 'object' || !claims || typeof claims !== 'object') return null;
  const write = (of: string, [name, v]: [string, unknown]): readonly [string, string] => {
    const text = typeof v === 'string' ? v : JSON.stringify(v);
    const isTime = ['exp', 'iat', 'nbf', 'auth_time'].includes(name) && typeof v === 'number' && v > earliest && v < latest;
    return [`${of}${name}`, isTime ? `${text} = ${formatMoment((v as number) * 1000, 'utc')} UTC` : text];
  };
  const expires = typeof claims.exp === 'number' ? claims.exp * 1000 : null;
  const state = expires === null ? 'It does not expire.' : expires < now ? `It expired ${formatAgo(expires, now)}.` : 'It has not expired.';
  return {
    title: 'JWT',
    rows: [...Object.entries(head).map((e) => write('header ', e)), ...Object.entries(claims).map((e) => write('', e))],
    note: `${state} ${m[3] ? 'The signature was not checked.' : 'It has no signature.'}`,
  };
}

function explainCookies(name: string, value: string): Explained | null {
  const parts = value.split(';').map((part) => part.trim()).filter(Boolean);
  const split = (part: string): readonly [string, string] => {
    const at = part.indexOf('=');
    return at < 0 ? [part, 'yes'] : [part.slice(0, at), part.slice(at + 1)];
  };
  if (name === 'cookie') return { title: 'cookies', rows: parts.map(split), note: '' };
  if (name !== 'set-cookie') return null;
  const attributes = new Set(parts.slice(1).map((part) => split(part)[0].toLowerCase()));
  const missing = [['secure', 'Secure'], ['httponly', 'HttpOnly'], ['samesite', 'SameSite']].flatMap(([key, word]) => (attributes.has(key as string) ? [] : [word]));
  return { title: 'cookie', rows: parts.map(split), note: missing.length > 0 ? `Without ${missing.join(', ')}.` : '' };
}

function explainTime(value: string, now: number): Explained | null {
  if (/^\d{10}(?:\.\d+)?$|^\d{13}$|^\d{16}$|^\d{19}$/.test(value)) {
    const digits = value.split('.')[0]?.length ?? 0;
    const seconds = Number(value) / 10 ** (digits - 10);
    return seconds > earliest && seconds < latest ? { title: 'time', rows: momentRows(seconds * 1000, now), note: '' } : null;
  }
  if (!rfcTime.test(value) && !httpDate.test(value)) return null;
  const ms = Date.parse(value);
  return Number.isNaN(ms) ? null : { title: 'time', rows: momentRows(ms, now), note: '' };
}

function explainBase64(value: string): Explained | null {
  const basic = /^Basic\s+([A-Za-z0-9+/=]+)$/i.exec(value);
  const source = basic ? (basic[1] as string) : value;
  if (!basic && (source.length < 16 || source.length > 100_000 || /^[0-9a-f]+$/i.test(source))) return null;
  const bytes = fromBase64(source);
  if (!bytes) return null;
  const text = textOf(bytes, false);
  // oxlint-disable-next-line no-control-regex -- text has none of these
  if (text !== null && !/[\u0000-\u0008\u000e-\u001f]/.test(text)) {
    if (!basic) return { title: 'base64', rows: [['text', text]], note: '' };
    const at = text.indexOf(':');
    return { title: 'credentials', rows: at < 0 ? [['text', text]] : [['user', text.slice(0, at)], ['password', text.slice(at + 1)]], note: '' };
  }
  const fields = bytes.length >= 8 ? readProtobuf(bytes) : null;
  return fields && fields.length > 1 ? { title: 'protobuf', rows: [['fields', protobufText(fields)]], note: 'Without its description there are numbers instead of names.' } : null;
}

/** What a value is, where that can be told from the value itself. `name` is the header's or the member's. */
export function explainValue(name: string, value: string, now: number): Explained | null {
  // A placeholder stands where a value was; there is nothing in it to explain.
  if (value.includes('REDACTED')) return name === 'cookie' || name === 'set-cookie' ? explainCookies(name, value) : null;
  return explainJwt(value, now) ?? explainCookies(name.toLowerCase(), value) ?? explainTime(value, now) ?? explainBase64(value);
}
