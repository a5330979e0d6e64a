import { Unreachable, type Problem } from '../api/client';
import type { Histogram, PairPage } from '../api/types';
import { isLive, type Range } from '../lib/range';
import { Ring } from '../lib/ring';
import { justAfter, parseMs } from '../lib/time';
import { bucketOf, chartBuckets, countIn } from './chart';
import { Rows, toRow, type Row, type Run } from './rows';
import type { TailHandlers, TailState } from './tail';

export type { Row } from './rows';

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

  #rows = new Rows();
  #base: Histogram | null = null;
  /** Rows put before those that #base counted. */
  #prepended = 0;
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
    return this.#rows.at(index);
  }

  /** Index of a row that is held, or -1. */
  indexOf(id: string): number {
    return this.#rows.indexOf(id);
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
    return this.#rows.last?.stopped ?? false;
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
    const { last } = this.#rows;
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
      this.#rows.reset(page);
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
    const { last } = this.#rows;
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
    if (this.#busy || this.pageError || this.stale || !this.shown || !this.#rows.last) return;
    const [first, last] = this.#wanted;
    const missing = this.#rows.firstMissing(Math.max(0, first), Math.min(last + prefetchRows, this.total - 1));
    if (missing < 0) return;
    const run = this.#rows.runBefore(missing);
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
        this.#rows.evict(this.#limits.rows, this.#wanted);
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

  async #extend(run: Run, signal: AbortSignal): Promise<void> {
    const oldest = run.rows.at(-1);
    const options = run.cursor ? { cursor: run.cursor } : oldest ? { to: justAfter(oldest.time) } : {};
    const page = await this.deps.page(this.shown as View, options, signal);
    if (signal.aborted) return;
    this.#rows.extend(run, page);
    if (page.partial) this.partial = true;
  }

  /** The newest rows again, after they were let go. */
  async #top(signal: AbortSignal): Promise<void> {
    const page = await this.deps.page(this.shown as View, {}, signal);
    if (signal.aborted) return;
    this.#rows.insertRun(0, page);
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
    this.#rows.insertRun(found.newer + this.#prepended, page, index);
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
    const meets = rows.some((row) => this.#rows.has(row.id) || this.#pendingIds.has(row.id));
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
    const rows = candidates.filter((row) => !this.#rows.has(row.id) && !this.#pendingIds.has(row.id));
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

  #insert(rows: Row[]): void {
    this.#prepended += this.#rows.insert(rows);
    this.#rows.evict(this.#limits.rows, this.#wanted);
    this.#count();
  }

  #notify(): void {
    this.#version++;
    for (const listener of this.#listeners) listener();
  }
}
