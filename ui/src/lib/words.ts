import { formatShort, type Zone } from './format';
import { parseMs } from './time';

const stamp = /\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g;

/** A sentence of the analyzer with its times, which are in UTC, as the rest of the page has them. */
export function withTimes(text: string, zone: Zone, now: number): string {
  return text.replace(stamp, (time) => {
    const ms = parseMs(time);
    return Number.isNaN(ms) ? time : formatShort(Math.floor(ms / 1000) * 1000, zone, now);
  });
}

/** What the analyzer says of a gap, without the count that it begins with: that stands beside it already. */
export function withoutCount(text: string): string {
  return text.replace(/^(?:at most )?[\d,]+ pairs?: /i, '');
}
