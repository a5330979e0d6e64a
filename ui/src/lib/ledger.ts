import type { LedgerCounts, LedgerStep } from '../api/types';
import { sum } from './counts';
import { formatCount } from './format';
import { dropLabel } from './reasons';

/** Where pairs go: the right side of the sum, in the order in which it is written. */
export const places = ['stored', 'filtered', 'sampled', 'dropped', 'in_flight', 'unknown', 'unaccounted'] as const;
export type Place = (typeof places)[number];

/** What a place is called, and what it means for the reader. */
export const placeInfo: Readonly<Record<Place | 'seen', { label: string; means: string }>> = {
  seen: { label: 'seen', means: 'Requests that proxies saw begin, as they last said.' },
  stored: { label: 'stored', means: 'Durable in the analyzer; also what retention has removed since.' },
  filtered: { label: 'filtered', means: 'Left out by a rule of the forwarder.' },
  sampled: { label: 'sampled', means: 'Left out because the proxy keeps one connection in so many.' },
  dropped: { label: 'dropped', means: 'Lost, for a stated reason.' },
  in_flight: { label: 'in flight', means: 'On their way: still open, in a proxy’s memory or ring, or in a forwarder’s spool.' },
  unknown: { label: 'unknown', means: 'At most so many were lost with proxies that ended without a goodbye, up to their last report. What they saw after it nobody knows.' },
  unaccounted: { label: 'unaccounted', means: 'Missing without a reason: a mistake of Weir. Please report it.' },
};

/** One term of the sum; parts are what it is made of. */
export interface Term {
  place: Place;
  pairs: number;
  parts: { label: string; pairs: number }[];
}

export function pairsAt(counts: LedgerCounts, place: Place): number {
  if (place === 'filtered') return sum(counts.filtered);
  if (place === 'dropped') return counts.dropped.reduce((n, d) => n + d.pairs, 0);
  return counts[place];
}

/** The right side of the sum, with what filtered and dropped are made of: most first. */
export function termsOf(counts: LedgerCounts): Term[] {
  return places.map((place) => ({ place, pairs: pairsAt(counts, place), parts: partsOf(counts, place) }));
}

function partsOf(counts: LedgerCounts, place: Place): Term['parts'] {
  const parts =
    place === 'filtered'
      ? Object.entries(counts.filtered).map(([rule, pairs]) => ({ label: rule, pairs }))
      : place === 'dropped'
        ? counts.dropped.map((d) => ({ label: dropLabel(d), pairs: d.pairs }))
        : [];
  return parts.filter((p) => p.pairs > 0).toSorted((a, b) => b.pairs - a.pairs || (a.label < b.label ? -1 : 1));
}

/** seen minus everything that it should be the sum of; 0 where the sum is one. */
export function difference(counts: LedgerCounts): number {
  return counts.seen - places.reduce((n, place) => n + pairsAt(counts, place), 0);
}

/** The sum as one line of text, for copying. Terms that are 0 are left out, but for stored. */
export function equationText(counts: LedgerCounts): string {
  const terms = termsOf(counts)
    .filter((t) => t.pairs > 0 || t.place === 'stored')
    .map(({ place, pairs, parts }) => {
      const of = parts.length > 0 ? ` (${parts.map((p) => `${p.label} ${formatCount(p.pairs)}`).join(', ')})` : '';
      return `${formatCount(pairs)} ${placeInfo[place].label}${of}`;
    });
  return `${formatCount(counts.seen)} seen = ${terms.join(' + ')}`;
}

export interface Verdict {
  tone: 'ok' | 'attention' | 'bad';
  title: string;
}

/** What a sum says, in one sentence: nothing missing without a reason comes first, nothing lost second. */
export function verdictOf(counts: LedgerCounts, holds: boolean): Verdict {
  if (!holds || counts.unaccounted > 0) {
    const n = counts.unaccounted;
    return { tone: 'bad', title: n > 0 ? `${formatCount(n)} of ${formatCount(counts.seen)} pairs are not accounted for` : 'The sum does not hold' };
  }
  const dropped = pairsAt(counts, 'dropped');
  if (counts.seen === 0) return { tone: 'ok', title: 'No pair was seen yet' };
  if (dropped > 0) return { tone: 'bad', title: `Every pair is accounted for; ${formatCount(dropped)} of them were dropped` };
  if (counts.unknown > 0) return { tone: 'attention', title: `Every pair is accounted for, but for at most ${formatCount(counts.unknown)} that ended with their proxy` };
  return { tone: 'ok', title: 'Every pair is accounted for, and none was dropped' };
}

/** What is drawn of a step, bottom to top: what was lost lies on top, where it shows. */
export const drawn = ['stored', 'filtered', 'sampled', 'dropped'] as const;
export type Drawn = (typeof drawn)[number];

/** One bar: all apps of one step, as the chart shows them. */
export interface Bar {
  /** Where it begins, milliseconds since 1970. */
  ms: number;
  pairs: Record<Drawn, number>;
  seen: number;
}

/**
 * The bars of [from, to), one for each step, also for those in which nothing
 * happened. No more than `most` of them: longer ranges are drawn coarser.
 */
export function barsOf(steps: readonly LedgerStep[], from: number, to: number, stepMs: number, most = 240): { bars: Bar[]; stepMs: number } {
  if (!(stepMs > 0) || !(to > from)) return { bars: [], stepMs };
  const first = Math.floor(from / stepMs) * stepMs;
  const width = stepMs * Math.max(1, Math.ceil((to - first) / stepMs / most));
  const bars: Bar[] = [];
  for (let ms = first; ms < to; ms += width) bars.push({ ms, seen: 0, pairs: { stored: 0, filtered: 0, sampled: 0, dropped: 0 } });
  for (const step of steps) {
    const bar = bars[Math.floor((Date.parse(step.time) - first) / width)];
    if (!bar) continue;
    bar.seen += step.seen;
    for (const place of drawn) bar.pairs[place] += pairsAt(step, place);
  }
  return { bars, stepMs: width };
}
