import type { PairPage, PairSummary } from '../api/types';
import { parseMs } from '../lib/time';

export interface Row extends PairSummary {
  /** `time` in milliseconds since 1970, for order and display. */
  ms: number;
}

/** Rows without a hole between them. */
export interface Run {
  /** Index of the first row in the list. */
  start: number;
  /** Newest first. */
  rows: Row[];
  /** Where the next page begins; undefined: behind the last row's time. */
  cursor: string | undefined;
  /** Nothing older follows. */
  end: boolean;
  /** The analyzer stopped looking before the end; only a reader's wish goes on. */
  stopped: boolean;
}

/**
 * The rows of a list of which only parts are held: runs, newest first, and
 * between them holes whose size is known only by counting.
 */
export class Rows {
  #runs: Run[] = [];
  #ids = new Set<string>();

  /** The run that holds the oldest rows; undefined before the first page. */
  get last(): Run | undefined {
    return this.#runs.at(-1);
  }

  has(id: string): boolean {
    return this.#ids.has(id);
  }

  at(index: number): Row | undefined {
    for (const run of this.#runs) {
      if (index < run.start) return undefined;
      const row = run.rows[index - run.start];
      if (row) return row;
    }
    return undefined;
  }

  /** Index of a row that is held, or -1. */
  indexOf(id: string): number {
    for (const run of this.#runs) {
      const at = run.rows.findIndex((row) => row.id === id);
      if (at >= 0) return run.start + at;
    }
    return -1;
  }

  /** The first index in [first, last] without a row; -1 when there is none. */
  firstMissing(first: number, last: number): number {
    let at = first;
    for (const run of this.#runs) {
      if (at >= run.start && at < run.start + run.rows.length) at = run.start + run.rows.length;
    }
    return at <= last ? at : -1;
  }

  /** The run that begins at this index or closest before it. */
  runBefore(index: number): Run | undefined {
    return this.#runs.findLast((run) => run.start <= index);
  }

  /** Forgets everything but this page, the newest. */
  reset(page: PairPage): void {
    this.#runs = [runOf(page, 0)];
    this.#ids = new Set(page.pairs.map((pair) => pair.id));
  }

  /** Makes a page a run of its own: at its start, but before those that begin behind `index`. */
  insertRun(start: number, page: PairPage, index = -1): void {
    let at = index < 0 ? 0 : this.#runs.findIndex((run) => run.start > index);
    if (at < 0) at = this.#runs.length;
    const before = this.#runs[at - 1];
    const run = runOf(page, Math.max(start, before ? before.start + before.rows.length : 0));
    for (const row of run.rows) this.#ids.add(row.id);
    this.#runs.splice(at, 0, run);
    this.#join(run);
  }

  /** Adds the page that follows a run. */
  extend(run: Run, page: PairPage): void {
    const had = new Set(run.rows.slice(-50).map((row) => row.id));
    for (const pair of page.pairs) {
      if (had.has(pair.id)) continue;
      run.rows.push(toRow(pair));
      this.#ids.add(pair.id);
    }
    run.cursor = page.next_cursor ?? undefined;
    run.end = page.next_cursor == null;
    run.stopped = page.partial && !run.end;
    this.#join(run);
  }

  /** Runs that have met become one; what lies behind moves to its true place. */
  #join(run: Run): void {
    const at = this.#runs.indexOf(run);
    if (run.end) {
      this.#runs.length = at + 1;
      return;
    }
    const next = this.#runs[at + 1];
    if (!next) return;
    const met = run.rows.findIndex((row) => row.id === next.rows[0]?.id);
    let shift = 0;
    if (met >= 0) {
      shift = run.start + met - next.start;
      run.rows = [...run.rows.slice(0, met), ...next.rows];
      run.cursor = next.cursor;
      run.end = next.end;
      run.stopped = next.stopped;
      this.#runs.splice(at + 1, 1);
    } else {
      shift = Math.max(0, run.start + run.rows.length - next.start);
    }
    for (const later of this.#runs.slice(at + 1)) later.start += shift;
  }

  /** Lets go of the rows farthest from the window [first, last] until no more than `limit` are held. */
  evict(limit: number, [first, last]: [number, number]): void {
    let held = this.#runs.reduce((n, run) => n + run.rows.length, 0);
    while (held > limit) {
      let farthest: Run | undefined;
      let most = 0;
      for (const run of this.#runs) {
        const end = run.start + run.rows.length;
        const distance = run.start > last ? run.start - last : end < first ? first - end : 0;
        if (distance >= most && this.#runs.length > 1) {
          most = distance;
          farthest = run;
        }
      }
      if (farthest && most > 0) {
        held -= farthest.rows.length;
        this.#forget(farthest.rows);
        this.#runs.splice(this.#runs.indexOf(farthest), 1);
        continue;
      }
      // One run around the window: cut its far end.
      const run = this.#runs[0] as Run;
      const excess = held - limit;
      const middle = (first + last) / 2 - run.start;
      if (middle > run.rows.length / 2) {
        this.#forget(run.rows.splice(0, excess));
        run.start += excess;
      } else {
        this.#forget(run.rows.splice(run.rows.length - excess, excess));
        run.cursor = undefined;
        run.end = false;
        run.stopped = false;
      }
      return;
    }
  }

  #forget(rows: Row[]): void {
    for (const row of rows) this.#ids.delete(row.id);
  }

  /**
   * Puts new rows where their time says: at the top, or a little below. Returns
   * by how many the list has grown in front of what was counted before.
   */
  insert(rows: Row[]): number {
    const [first] = this.#runs;
    if (!first || first.start > 0) {
      // The top is not held; it will be asked for when it is looked at.
      for (const run of this.#runs) run.start += rows.length;
      return rows.length;
    }
    rows.sort(newestFirst);
    const added: Row[] = [];
    for (const row of rows) {
      if (this.#ids.has(row.id)) continue;
      this.#ids.add(row.id);
      added.push(row);
    }
    const tops = first.rows;
    if (tops.length === 0 || (added.length > 0 && newestFirst(added.at(-1) as Row, tops[0] as Row) <= 0)) {
      first.rows = [...added, ...tops];
    } else {
      for (const row of added) {
        let low = 0;
        let high = tops.length;
        while (low < high) {
          const middle = (low + high) >> 1;
          if (newestFirst(row, tops[middle] as Row) < 0) high = middle;
          else low = middle + 1;
        }
        // Older than all that is held: it will come with its page.
        if (low === tops.length && !first.end) this.#ids.delete(row.id);
        else tops.splice(low, 0, row);
      }
    }
    for (const run of this.#runs.slice(1)) run.start += added.length;
    return added.length;
  }
}

function runOf(page: PairPage, start: number): Run {
  return {
    start,
    rows: page.pairs.map(toRow),
    cursor: page.next_cursor ?? undefined,
    end: page.next_cursor == null,
    stopped: page.partial && page.next_cursor != null,
  };
}

export function toRow(pair: PairSummary): Row {
  return { ...pair, ms: parseMs(pair.time) };
}

function newestFirst(a: Row, b: Row): number {
  return b.ms - a.ms || (a.id < b.id ? 1 : a.id > b.id ? -1 : 0);
}
