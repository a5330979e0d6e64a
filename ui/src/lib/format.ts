/** Numbers and times as people read them. The exact value is always one hover away. */

const absent = '–';

/** Digits so that the figure has about three that matter: 1.2, 14, 340. */
function digits(value: number, below10: number): string {
  return value < 10 ? value.toFixed(below10) : value.toFixed(0);
}

/** Nanoseconds in the unit that reads best: 840 ns, 12 µs, 1.2 ms, 1.20 s, 2 m 03 s. */
export function formatDuration(ns: number | null | undefined): string {
  if (ns == null || !Number.isFinite(ns)) return absent;
  if (ns < 0) return `-${formatDuration(-ns)}`;
  if (ns < 999.5) return `${ns.toFixed(0)} ns`;
  const us = ns / 1e3;
  if (us < 999.5) return `${digits(us, 1)} µs`;
  const ms = ns / 1e6;
  if (ms < 999.5) return `${digits(ms, 1)} ms`;
  const s = ns / 1e9;
  if (s < 9.995) return `${s.toFixed(2)} s`;
  if (s < 59.95) return `${s.toFixed(1)} s`;
  const whole = Math.round(s);
  if (whole < 3600) return `${Math.floor(whole / 60)} m ${two(whole % 60)} s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h ${two(Math.floor(whole / 60) % 60)} m`;
  return `${Math.floor(whole / 86_400)} d ${two(Math.floor(whole / 3600) % 24)} h`;
}

export function exactDuration(ns: number | null | undefined): string {
  return ns == null ? '' : `${formatCount(ns)} ns`;
}

/** Bytes in decimal units: 512 B, 1.2 KB, 340 KB, 3.1 MB. */
export function formatSize(bytes: number | null | undefined): string {
  if (bytes == null || !Number.isFinite(bytes)) return absent;
  if (bytes < 1000) return `${bytes} B`;
  let value = bytes;
  for (const unit of ['KB', 'MB', 'GB', 'TB']) {
    value /= 1000;
    if (value < 9.95) return `${value.toFixed(1)} ${unit}`;
    if (value < 999.5) return `${value.toFixed(0)} ${unit}`;
  }
  return `${(value / 1000).toFixed(1)} PB`;
}

export function exactSize(bytes: number | null | undefined): string {
  return bytes == null ? '' : `${formatCount(bytes)} ${bytes === 1 ? 'byte' : 'bytes'}`;
}

/** 1204331 → 1,204,331. */
export function formatCount(n: number): string {
  return String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** "1 pair", "1,204 pairs". */
export function plural(n: number, one: string, many = `${one}s`): string {
  return `${formatCount(n)} ${n === 1 ? one : many}`;
}

/** Words that go on a sentence, as one of their own. */
export function sentence(words: string): string {
  return words === '' ? '' : `${words.charAt(0).toUpperCase()}${words.slice(1)}${/[.!?]$/.test(words) ? '' : '.'}`;
}

/** Exchanges in a second, or in the time in which there is one at all: 340/s, 1.2/s, 14/min, 3.0/h. */
export function formatRate(perSecond: number): string {
  if (!Number.isFinite(perSecond)) return absent;
  if (perSecond === 0) return '0/s';
  if (perSecond >= 0.995) return `${perSecond < 1000 ? digits(perSecond, 1) : formatCount(perSecond)}/s`;
  const perMinute = perSecond * 60;
  if (perMinute >= 0.995) return `${digits(perMinute, 1)}/min`;
  return `${digits(perMinute * 60, 1)}/h`;
}

/** A part of all, from 0 to 1: 0 %, 0.3 %, 12 %; never 0 % for some, or 100 % for not all. */
export function formatShare(share: number): string {
  if (!Number.isFinite(share)) return absent;
  if (share > 0 && share < 0.001) return '< 0.1 %';
  if (share < 1 && share > 0.99) return '> 99 %';
  const percent = share * 100;
  return `${percent === 0 || percent === 100 ? percent : digits(percent, 1)} %`;
}

export type Zone = 'local' | 'utc';

const two = (n: number) => String(n).padStart(2, '0');
const three = (n: number) => String(n).padStart(3, '0');

interface Parts {
  year: number;
  month: number;
  day: number;
  hour: number;
  minute: number;
  second: number;
  ms: number;
}

function parts(ms: number, zone: Zone): Parts {
  const d = new Date(ms);
  return zone === 'utc'
    ? {
        year: d.getUTCFullYear(),
        month: d.getUTCMonth() + 1,
        day: d.getUTCDate(),
        hour: d.getUTCHours(),
        minute: d.getUTCMinutes(),
        second: d.getUTCSeconds(),
        ms: d.getUTCMilliseconds(),
      }
    : {
        year: d.getFullYear(),
        month: d.getMonth() + 1,
        day: d.getDate(),
        hour: d.getHours(),
        minute: d.getMinutes(),
        second: d.getSeconds(),
        ms: d.getMilliseconds(),
      };
}

/** 12:04:31.204 */
export function formatClock(ms: number, zone: Zone): string {
  if (!Number.isFinite(ms)) return absent;
  const p = parts(ms, zone);
  return `${two(p.hour)}:${two(p.minute)}:${two(p.second)}.${three(p.ms)}`;
}

/** 2026-11-23 */
export function formatDay(ms: number, zone: Zone): string {
  if (!Number.isFinite(ms)) return absent;
  const p = parts(ms, zone);
  return `${p.year}-${two(p.month)}-${two(p.day)}`;
}

/** 2026-11-23 12:04:31.204 */
export function formatMoment(ms: number, zone: Zone): string {
  return Number.isFinite(ms) ? `${formatDay(ms, zone)} ${formatClock(ms, zone)}` : absent;
}

/** 12:04 today, Nov 22 12:04 on any other day: for range labels. */
export function formatShort(ms: number, zone: Zone, now: number): string {
  const p = parts(ms, zone);
  const seconds = p.second === 0 ? '' : `:${two(p.second)}`;
  const clock = `${two(p.hour)}:${two(p.minute)}${seconds}`;
  if (formatDay(ms, zone) === formatDay(now, zone)) return clock;
  const month = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ')[p.month - 1];
  return `${month} ${p.day} ${clock}`;
}

/** "now", "3 s ago", "4 m ago", "2 h ago", "3 d ago". A moment in the future is now. */
export function formatAgo(ms: number, now: number): string {
  const s = Math.max(0, (now - ms) / 1000);
  if (s < 1.5) return 'now';
  if (s < 90) return `${Math.round(s)} s ago`;
  if (s < 5400) return `${Math.round(s / 60)} m ago`;
  if (s < 129_600) return `${Math.round(s / 3600)} h ago`;
  return `${Math.round(s / 86_400)} d ago`;
}
