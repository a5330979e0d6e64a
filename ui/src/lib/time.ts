/**
 * RFC 3339 times with nanoseconds. A Date has milliseconds only, and a number
 * of nanoseconds since 1970 does not fit a double, so differences go by BigInt.
 */

const pattern = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/i;

/** Nanoseconds since 1970, or null for what is no time. */
export function parseNs(text: string | null | undefined): bigint | null {
  const m = text == null ? null : pattern.exec(text);
  if (!m) return null;
  const ms = Date.parse(`${m[1]}${m[3]}`);
  if (Number.isNaN(ms)) return null;
  return BigInt(ms) * 1_000_000n + BigInt((m[2] ?? '').padEnd(9, '0'));
}

/** Milliseconds since 1970 with the rest as a fraction (good to about 0.3 µs); NaN for what is no time. */
export function parseMs(text: string | null | undefined): number {
  const ns = parseNs(text);
  if (ns == null) return NaN;
  const ms = ns / 1_000_000n;
  return Number(ms) + Number(ns - ms * 1_000_000n) / 1e6;
}

/** b - a in nanoseconds; null where either is missing. */
export function diffNs(a: string | null | undefined, b: string | null | undefined): number | null {
  const from = parseNs(a);
  const to = parseNs(b);
  return from == null || to == null ? null : Number(to - from);
}

export function formatNs(ns: bigint): string {
  const seconds = ns / 1_000_000_000n;
  const rest = ns - seconds * 1_000_000_000n;
  const whole = new Date(Number(seconds) * 1000).toISOString().slice(0, 19);
  return rest === 0n ? `${whole}Z` : `${whole}.${String(rest).padStart(9, '0')}Z`;
}

/** The first moment after this one. */
export function justAfter(text: string): string {
  const ns = parseNs(text);
  return ns == null ? text : formatNs(ns + 1n);
}
