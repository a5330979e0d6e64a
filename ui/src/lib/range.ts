import { formatMoment, formatShort, type Zone } from './format';
import { parseMs } from './time';

/** A time range as the URL and the API write it: relative ("15m"), absolute (RFC 3339), or open. */
export interface Range {
  /** "15m", an RFC 3339 time, or "all". */
  from: string;
  /** An RFC 3339 time; absent: until now, and live. */
  to?: string;
}

export const defaultFrom = '15m';

export const presets: readonly { from: string; label: string }[] = [
  { from: '5m', label: 'Last 5 min' },
  { from: '15m', label: 'Last 15 min' },
  { from: '1h', label: 'Last hour' },
  { from: '6h', label: 'Last 6 hours' },
  { from: '24h', label: 'Last 24 hours' },
  { from: 'all', label: 'All that is stored' },
];

/** Parameters of the API for a range; "all" is no parameter. */
export function rangeParams(range: Range): { from?: string; to?: string } {
  return {
    ...(range.from === 'all' ? {} : { from: range.from }),
    ...(range.to ? { to: range.to } : {}),
  };
}

export function isLive(range: Range): boolean {
  return !range.to;
}

export function rangeLabel(range: Range, zone: Zone, now: number): string {
  if (!range.to) {
    const preset = presets.find((p) => p.from === range.from);
    if (preset) return preset.label;
    const since = parseMs(range.from);
    return Number.isNaN(since) ? `Last ${range.from}` : `Since ${formatShort(since, zone, now)}`;
  }
  const from = parseMs(range.from);
  const to = parseMs(range.to);
  const start = Number.isNaN(from) ? 'start' : formatShort(from, zone, now);
  return `${start} – ${Number.isNaN(to) ? range.to : formatShort(to, zone, now)}`;
}

/** The next wider range, or null where it is as wide as it goes. */
export function wider(range: Range): Range | null {
  if (range.to || !presets.some((p) => p.from === range.from)) {
    return range.from === 'all' && !range.to ? null : { from: 'all' };
  }
  const at = presets.findIndex((p) => p.from === range.from);
  const next = presets[at + 1];
  return next ? { from: next.from } : null;
}

/** Value of a datetime-local input for a moment, in the zone that times are shown in. */
export function toInput(ms: number, zone: Zone): string {
  return formatMoment(ms, zone).slice(0, 19).replace(' ', 'T');
}

/** The moment that a datetime-local input holds; NaN where it is empty. */
export function fromInput(value: string, zone: Zone): number {
  return Date.parse(zone === 'utc' && value ? `${value}Z` : value);
}
