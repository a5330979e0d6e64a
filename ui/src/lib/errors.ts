import type { ErrorGroup, ErrorGroups } from '../api/types';
import type { Range } from './range';
import { parseMs } from './time';

/** How a group stands to the time before: it is new, or it is gone. */
export type Novelty = 'new' | 'gone';

/** What could be one group or another until all bodies are looked into. */
const place = (g: ErrorGroup): string => JSON.stringify([g.app, g.method, g.endpoint, g.status]);

/** Whether an answer without a group says that there was none of it. */
function knowsAll(answer: ErrorGroups, g: ErrorGroup): boolean {
  return !answer.more && answer.groups.every((other) => other.exact || place(other) !== place(g));
}

export interface Novelties {
  /** Keys of groups that are new. */
  fresh: ReadonlySet<string>;
  /** Groups of the time before that are gone. */
  gone: readonly ErrorGroup[];
}

/**
 * What is new, and what is gone. Where not all was looked into nothing is said:
 * it may have been there. Null: there is nothing to compare with.
 */
export function compareErrors(now: ErrorGroups, before: ErrorGroups | undefined): Novelties | null {
  // Another reader's answer has other groups.
  if (!before || before.content !== now.content) return null;
  const had = new Set(before.groups.map((g) => g.key));
  const has = new Set(now.groups.map((g) => g.key));
  return {
    fresh: new Set(now.groups.filter((g) => !had.has(g.key) && knowsAll(before, g)).map((g) => g.key)),
    gone: before.groups.filter((g) => !has.has(g.key) && knowsAll(now, g)),
  };
}

export const errorSorts = {
  said: (a, b) => a.template.localeCompare(b.template) || b.pairs - a.pairs,
  pairs: (a, b) => b.pairs - a.pairs || b.last.localeCompare(a.last),
  first: (a, b) => b.first.localeCompare(a.first),
  last: (a, b) => b.last.localeCompare(a.last),
  status: (a, b) => b.status - a.status || b.pairs - a.pairs,
  where: (a, b) => a.endpoint.localeCompare(b.endpoint) || b.pairs - a.pairs,
  app: (a, b) => a.app.localeCompare(b.app) || b.pairs - a.pairs,
} satisfies Record<string, (a: ErrorGroup, b: ErrorGroup) => number>;
export type ErrorSort = keyof typeof errorSorts;

const minuteMs = 60_000;

/** As much time before an answer's, in whole minutes, so that it is asked for once a minute. */
export function timeBefore({ from, to }: Pick<ErrorGroups, 'from' | 'to'>): Range | null {
  const [start, end] = [parseMs(from), parseMs(to)];
  if (Number.isNaN(start) || Number.isNaN(end)) return null;
  const at = Math.floor(start / minuteMs) * minuteMs;
  const long = Math.max(minuteMs, Math.ceil((end - start) / minuteMs) * minuteMs);
  return { from: new Date(at - long).toISOString(), to: new Date(at).toISOString() };
}
