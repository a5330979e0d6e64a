import { Unreachable, type Problem } from '../api/client';
import type { Histogram, PairPage, PairSummary } from '../api/types';
import { isLive, type Range } from '../lib/range';
import { Ring } from '../lib/ring';
import { justAfter, parseMs } from '../lib/time';
import { bucketOf, chartBuckets, countIn } from './chart';
import type { TailHandlers, TailState } from './tail';

export interface Row extends PairSummary {
  /** `time` in milliseconds since 1970, for order and display. */
  ms: number;
}

export interface View {
  q: string;
  range: Range;
}

export interface FeedDeps {
  page(
    view: View,
    options: { cursor?: string; to?: string },
    signal: AbortSignal,
  ): Promise<PairPage>;
  histogram(view: View, buckets: number, signal: AbortSignal): Promise<Histogram>;
  tail(view: View, handlers: TailHandlers): { start(): void; stop(): void; retryNow(): void };
  /** Calls back before the next paint. */
  frame(callback: () => void): void;
}

/** Rows without a hole between them. */
interface Run {
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

export interface FeedLimits {
  /** Rows kept; those farthest from the window go first. */
  rows: number;
  /** Live rows kept while the list holds still. */
  pending: number;
  /** Live rows taken between two paints. */
  incoming: number;
}

const defaultLimits: FeedLimits = { rows: 40_000, pending: 2000, incoming: 5000 };

/** Rows that are fetched in sequence rather than sought by time. */
const nearRows = 1500;
const prefetchRows = 60;
const tailHeadStartMs = 250;
const mostSteps = 30;

/**
 * The list of Traffic: the newest pairs that match, as many as there are,
 * of which it holds those that were looked at. It lives outside React, since
 * thousands of live rows a second must not be so many renders: whoever shows
 * it subscribes, and is told at most once a frame.
 *
 * Places in the list are known by counting: the histogram says how many rows
 * are newer than a moment, so that a jump far down asks for the rows before a
 * moment and knows their index. While rows in between are unknown, an index
 * may be off by what happened meanwhile; it is put right when runs meet.
 */
export class Feed {
  view: View | null = null;
  /** The view whose rows are shown; another than `view` while that loads or when it failed. */
  shown: View | null = null;
  loading = false;
  error: Error | null = null;
  /** Loading more rows failed; what is there stays. */
  pageError: Error | null = null;
  total = 0;
  /** total is a count, not a lower bound. */
  totalExact = true;
  chart: Histogram | null = null;
  /** The answer was limited: not everything was looked at. */
  partial = false;
  tail: TailState = { kind: 'stopped' };
  /** When the tail was last known to be connected, milliseconds since 1970. */
  lastLive = 0;

  #runs: Run[] = [];
  #base: Histogram | null = null;
  /** Rows put before those that #base counted. */
  #prepended = 0;
  #ids = new Set<string>();
  #incoming: Ring<Row>;
  #pending: Ring<Row>;
  #pendingIds = new Set<string>();
  #reloadOnRelease = false;
  #held = false;
  #tail: ReturnType<FeedDeps['tail']> | null = null;
  #abort = new AbortController();
  #busy = false;
  /** The first page of this load was asked for; the tail opened after that. */
  #asked = false;
  #openedLate = false;
  #wanted: [number, number] = [0, 0];
  /** Calls made for #wanted: an analyzer whose answers lead nowhere is not asked for ever. */
  #steps = 0;
  #framed = false;
  #version = 0;
  #listeners = new Set<() => void>();
  readonly #limits: FeedLimits;

  constructor(
    private readonly deps: FeedDeps,
    limits: Partial<FeedLimits> = {},
  ) {
    this.#limits = { ...defaultLimits, ...limits };
    this.#incoming = new Ring(this.#limits.incoming);
    this.#pending = new Ring(this.#limits.pending);
  }

  // Reading.

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  version = (): number => this.#version;

  rowAt(index: number): Row | undefined {
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

  /** New rows that wait while the list holds still. */
  get pendingCount(): number {
    return this.#pending.length + this.#pending.lost;
  }

  /** pendingCount is a count, not a lower bound. */
  get pendingExact(): boolean {
    return !this.#reloadOnRelease;
  }

  /**
   * Where a range that moves with time ("15m") began when it was asked for, in
   * milliseconds since 1970: the list keeps what has left the range since.
   * Null for other ranges, and while it is not known.
   */
  get since(): number | null {
    const { from, to } = this.shown?.range ?? { from: 'all' };
    return to || from === 'all' || !Number.isNaN(parseMs(from)) || !this.#base ? null : parseMs(this.#base.from);
  }

  get held(): boolean {
    return this.#held;
  }

  /** Shown rows answer another question than the one that was asked last. */
  get stale(): boolean {
    return this.shown !== null && this.shown !== this.view;
  }

  /** The search ended early behind the loaded rows; `goOn` continues it. */
  get stoppedEarly(): boolean {
    return this.#runs.at(-1)?.stopped ?? false;
  }

  // Asking.

  /** Shows another view; what was shown stays until the first answer. */
  open(view: View): void {
    this.#cancel();
    this.view = view;
    this.#load();
  }

  /** Asks again for the view that is open. */
  reload(): void {
    if (!this.view) return;
    this.#cancel();
    this.#load();
  }

  close(): void {
    this.#cancel();
    this.view = null;
  }

  /** Keeps the list as it is while rows arrive; they wait and are counted. */
  hold(held: boolean): void {
    if (held === this.#held) return;
    this.#held = held;
    if (!held) this.release();
    this.#notify();
  }

  /** Lets the waiting rows in. */
  release(): void {
    if (this.#reloadOnRelease || this.#pending.lost > 0) {
      this.#clearPending();
      this.reload();
      return;
    }
    const rows = this.#pending.drain();
    this.#pendingIds.clear();
    this.#insert(rows);
    this.#notify();
  }

  /** The window shows these rows: fetches what is missing of them. */
  ensure(first: number, last: number): void {
    this.#wanted = [first, last];
    this.#steps = 0;
    this.#pump();
  }

  /** After an error or an early stop: tries again, or searches on. */
  goOn(): void {
    this.pageError = null;
    this.#steps = 0;
    const last = this.#runs.at(-1);
    if (last?.stopped) {
      last.stopped = false;
      this.#wanted = [last.start + last.rows.length, last.start + last.rows.length];
    }
    this.#pump();
    this.#notify();
  }

  retryNow(): void {
    if (this.error) this.reload();
    else this.#tail?.retryNow();
  }

  /** Counts over time, again: live counts drift from the truth while rows are left out. */
  async refreshChart(): Promise<void> {
    const view = this.shown;
    if (!view || this.stale || document.visibilityState === 'hidden') return;
    const { signal } = this.#abort;
    try {
      const chart = await this.deps.histogram(view, chartBuckets, signal);
      if (signal.aborted) return;
      this.chart = chart;
      this.#notify();
    } catch {
      // The list and the tail tell of trouble; an older chart is better than none.
    }
  }

  /** A window that nobody sees needs no connection: browsers allow six to a server. */
  sleep(): void {
    this.#tail?.stop();
  }

  wake(): void {
    this.#tail?.start();
  }

  // Loading.

  #cancel(): void {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#tail?.stop();
    this.#tail = null;
    this.#busy = false;
    this.#incoming.drain();
    this.#clearPending();
  }

  #clearPending(): void {
    this.#pending.drain();
    this.#pendingIds.clear();
    this.#reloadOnRelease = false;
  }

  #load(): void {
    const view = this.view as View;
    const { signal } = this.#abort;
    this.loading = true;
    this.error = null;
    this.pageError = null;
    let opened: Promise<void> = Promise.resolve();
    this.#asked = false;
    this.#openedLate = false;
    if (isLive(view.range)) opened = this.#openTail(view, signal);
    else this.tail = { kind: 'stopped' };
    void (async () => {
      // The tail first: what is stored between the two is then in one of them.
      // Not at any price, though; a late tail fills the gap itself.
      await Promise.race([opened, new Promise((resolve) => setTimeout(resolve, tailHeadStartMs))]);
      if (signal.aborted) return;
      if (this.#refused?.isQuery) {
        this.loading = false;
        this.error = this.#refused;
        this.#notify();
        return;
      }
      this.#asked = true;
      const histogram = this.deps.histogram(view, chartBuckets, signal).catch(() => null);
      let page: PairPage;
      try {
        page = await this.deps.page(view, {}, signal);
      } catch (error) {
        if (signal.aborted) return;
        this.loading = false;
        this.error = error instanceof Error ? error : new Error(String(error));
        this.#notify();
        return;
      }
      if (signal.aborted) return;
      const rows = page.pairs.map(toRow);
      this.#runs = [
        {
          start: 0,
          rows,
          cursor: page.next_cursor ?? undefined,
          end: page.next_cursor == null,
          stopped: page.partial && page.next_cursor != null,
        },
      ];
      this.#ids = new Set(rows.map((row) => row.id));
      this.#base = null;
      this.#prepended = 0;
      this.shown = view;
      this.loading = false;
      this.partial = page.partial;
      this.#count();
      this.#notify();
      if (this.#openedLate) void this.#backfill(signal);
      this.#schedule();
      const counted = await histogram;
      if (signal.aborted) return;
      this.#base = counted;
      this.chart = counted;
      this.#count();
      this.#notify();
      this.#pump();
    })();
    this.#notify();
  }

  #count(): void {
    const last = this.#runs.at(-1);
    if (!last) return;
    const loaded = last.start + last.rows.length;
    if (last.end) {
      this.total = loaded;
      this.totalExact = !this.partial;
    } else if (this.#base) {
      this.total = Math.max(loaded + 1, this.#base.total + this.#prepended);
      this.totalExact = !this.#base.partial;
    } else {
      this.total = loaded + 1;
      this.totalExact = false;
    }
  }

  #pump(): void {
    if (this.#busy || this.pageError || this.stale || !this.shown || this.#runs.length === 0) return;
    const [first, last] = this.#wanted;
    const missing = this.#firstMissing(Math.max(0, first), Math.min(last + prefetchRows, this.total - 1));
    if (missing < 0) return;
    const run = this.#runs.findLast((r) => r.start <= missing);
    if (run?.end || run?.stopped) return;
    if (this.#steps++ >= mostSteps) return;
    this.#busy = true;
    const { signal } = this.#abort;
    let work: Promise<void>;
    if (run && (missing - (run.start + run.rows.length) <= nearRows || !this.#base)) work = this.#extend(run, signal);
    else if (!run && (missing < this.#prepended + prefetchRows || !this.#base)) work = this.#top(signal);
    else work = this.#seek(missing, this.#base as Histogram, signal);
    work
      .then(() => {
        if (signal.aborted) return;
        this.#busy = false;
        this.#evict();
        this.#count();
        this.#notify();
        this.#pump();
      })
      .catch((error: unknown) => {
        if (signal.aborted) return;
        this.#busy = false;
        this.pageError = error instanceof Error ? error : new Error(String(error));
        this.#notify();
      });
  }

  /** The first index in [first, last] without a row; -1 when there is none. */
  #firstMissing(first: number, last: number): number {
    let at = first;
    for (const run of this.#runs) {
      if (at >= run.start && at < run.start + run.rows.length) at = run.start + run.rows.length;
    }
    return at <= last ? at : -1;
  }

  async #extend(run: Run, signal: AbortSignal): Promise<void> {
    const oldest = run.rows.at(-1);
    const options = run.cursor ? { cursor: run.cursor } : oldest ? { to: justAfter(oldest.time) } : {};
    const page = await this.deps.page(this.shown as View, options, signal);
    if (signal.aborted) return;
    this.#append(run, page);
  }

  #append(run: Run, page: PairPage): void {
    const had = new Set(run.rows.slice(-50).map((row) => row.id));
    for (const pair of page.pairs) {
      if (had.has(pair.id)) continue;
      run.rows.push(toRow(pair));
      this.#ids.add(pair.id);
    }
    run.cursor = page.next_cursor ?? undefined;
    run.end = page.next_cursor == null;
    run.stopped = page.partial && !run.end;
    if (page.partial) this.partial = true;
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

  /** The newest rows again, after they were let go. */
  async #top(signal: AbortSignal): Promise<void> {
    const page = await this.deps.page(this.shown as View, {}, signal);
    if (signal.aborted) return;
    this.#add(0, 0, page);
  }

  /** Makes a page a run of its own at this place among the runs. */
  #add(at: number, start: number, page: PairPage): void {
    const run: Run = {
      start,
      rows: page.pairs.map(toRow),
      cursor: page.next_cursor ?? undefined,
      end: page.next_cursor == null,
      stopped: page.partial && page.next_cursor != null,
    };
    for (const row of run.rows) this.#ids.add(row.id);
    this.#runs.splice(at, 0, run);
    this.#join(run);
  }

  /** Jumps: finds the moment before which `index` rows lie, and asks for those that follow. */
  async #seek(index: number, base: Histogram, signal: AbortSignal): Promise<void> {
    const view = this.shown as View;
    let found = bucketOf(base, index - this.#prepended);
    if (found && found.count > nearRows / 2 && base.step_ns > 1e6) {
      const range = { from: found.start, to: found.end };
      const fine = await this.deps.histogram({ q: view.q, range }, 100, signal);
      if (signal.aborted) return;
      const within = bucketOf(fine, index - this.#prepended - found.newer);
      if (within) found = { ...within, newer: within.newer + found.newer };
    }
    if (!found) throw new Error('The list changed while it was read.');
    const page = await this.deps.page(view, { to: found.end }, signal);
    if (signal.aborted) return;
    let at = this.#runs.findIndex((r) => r.start > index);
    if (at < 0) at = this.#runs.length;
    const before = this.#runs[at - 1];
    this.#add(at, Math.max(found.newer + this.#prepended, before ? before.start + before.rows.length : 0), page);
  }

  /** Lets go of the rows farthest from the window. */
  #evict(): void {
    let held = this.#runs.reduce((n, run) => n + run.rows.length, 0);
    const [first, last] = this.#wanted;
    while (held > this.#limits.rows) {
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
      const excess = held - this.#limits.rows;
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

  // Live.

  /** What the tail was refused with: the same query would be refused again. */
  get #refused(): Problem | null {
    return this.tail.kind === 'refused' ? this.tail.problem : null;
  }

  /** Resolves when the tail is open, or will not be soon. */
  #openTail(view: View, signal: AbortSignal): Promise<void> {
    let settle = () => {};
    const settled = new Promise<void>((resolve) => (settle = resolve));
    this.#tail = this.deps.tail(view, {
      onPair: (pair) => {
        if (signal.aborted) return;
        this.#incoming.push(toRow(pair));
        this.#schedule();
      },
      onDropped: () => {
        if (!signal.aborted) void this.#backfill(signal);
      },
      onOpen: () => {
        if (signal.aborted) return;
        if (this.error instanceof Unreachable) this.reload();
        else {
          this.pageError = null;
          this.#pump();
          // Rows that came while there was no connection.
          if (!this.loading) void this.#backfill(signal);
          else if (this.#asked) this.#openedLate = true;
        }
        settle();
      },
      onState: (state) => {
        if (signal.aborted) return;
        if (this.tail.kind === 'live' || state.kind === 'live') this.lastLive = Date.now();
        this.tail = state;
        if (state.kind !== 'connecting' && state.kind !== 'live') settle();
        this.#notify();
      },
    });
    this.#tail.start();
    return settled;
  }

  async #backfill(signal: AbortSignal): Promise<void> {
    let page: PairPage;
    try {
      page = await this.deps.page(this.shown as View, {}, signal);
    } catch {
      // The tail is what says whether the analyzer is there.
      return;
    }
    if (signal.aborted) return;
    if (this.#held && this.#pending.lost > 0) {
      // Which of these are counted already is not known any more.
      this.#reloadOnRelease = true;
      this.#notify();
      return;
    }
    const rows = page.pairs.map(toRow);
    const meets = rows.some((row) => this.#ids.has(row.id) || this.#pendingIds.has(row.id));
    if (!meets && page.next_cursor != null) {
      // More came than a page holds.
      if (this.#held) this.#reloadOnRelease = true;
      else {
        this.reload();
        return;
      }
    }
    this.#take(rows);
  }

  #schedule(): void {
    if (this.#framed) return;
    this.#framed = true;
    this.deps.frame(() => {
      this.#framed = false;
      this.#flush();
    });
  }

  /** Takes in what came since the last frame. */
  #flush(): void {
    // What comes while a page is on its way waits for it.
    if (this.loading || this.stale || !this.shown) return;
    const lost = this.#incoming.lost > 0;
    const rows = this.#incoming.drain();
    if (lost) {
      if (this.#held) this.#reloadOnRelease = true;
      else {
        this.reload();
        return;
      }
    }
    this.#take(rows);
  }

  /** Rows that may be new: into the list, or into the queue while it holds still. */
  #take(candidates: readonly Row[]): void {
    const rows = candidates.filter((row) => !this.#ids.has(row.id) && !this.#pendingIds.has(row.id));
    if (rows.length === 0) return;
    // Until the chart is asked for again.
    if (this.chart) this.chart = countIn(this.chart, rows, this.since !== null);
    if (this.#held) {
      for (const row of rows) {
        this.#pending.push(row);
        // Ids of rows that the ring forgot are not needed: release reloads.
        if (this.#pendingIds.size < this.#limits.pending) this.#pendingIds.add(row.id);
      }
    } else this.#insert(rows);
    this.#notify();
  }

  /** Puts new rows where their time says: at the top, or a little below. */
  #insert(rows: Row[]): void {
    let first = this.#runs[0];
    if (!first || first.start > 0) {
      // The top is not held; it will be asked for when it is looked at.
      this.#prepended += rows.length;
      for (const run of this.#runs) run.start += rows.length;
      this.#count();
      return;
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
    this.#prepended += added.length;
    for (const run of this.#runs.slice(1)) run.start += added.length;
    this.#evict();
    first = this.#runs[0];
    this.#count();
  }

  #notify(): void {
    this.#version++;
    for (const listener of this.#listeners) listener();
  }
}

function toRow(pair: PairSummary): Row {
  return { ...pair, ms: parseMs(pair.time) };
}

function newestFirst(a: Row, b: Row): number {
  return b.ms - a.ms || (a.id < b.id ? 1 : a.id > b.id ? -1 : 0);
}
