import type { Histogram, HistogramBucket, PairPage, PairSummary } from '../api/types';
import type { FeedDeps, View } from './feed';
import type { TailHandlers } from './tail';

/** Pairs for tests: number n was captured n seconds after the first. */
export function pair(n: number, change: Partial<PairSummary> = {}): PairSummary {
  return {
    id: `01997b2c-0000-7000-8000-${String(n).padStart(12, '0')}`,
    time: new Date(start + n * 1000).toISOString(),
    stored_at: new Date(start + n * 1000 + 50).toISOString(),
    cluster: '',
    namespace: '',
    app: 'shop',
    pod: 'shop-1',
    direction: 'inbound',
    protocol: 'http',
    method: 'GET',
    host: 'shop:8080',
    path: `/n/${n}`,
    query: '',
    endpoint: '',
    status: 200,
    duration_ns: 1_000_000,
    ttfb_ns: 500_000,
    request_size: 0,
    response_size: 10,
    client: '10.0.0.1:4000',
    server: '10.0.0.2:8080',
    conn: 0,
    seq: n,
    flags: [],
    sample_weight: 1,
    error: '',
    ...change,
  };
}

export const start = Date.UTC(2020, 1, 3, 12);

/** An analyzer in memory: it answers as the API says, when the test lets it. */
export class FakeAnalyzer {
  pairs: PairSummary[] = [];
  pageSize = 100;
  /** Set to make calls fail. */
  fail: Error | null = null;
  /** Answers are held back while this is set. */
  gate: Promise<void> | null = null;
  tails: { view: View; handlers: TailHandlers; running: boolean }[] = [];
  calls: string[] = [];
  openTails = true;
  #frames: (() => void)[] = [];

  constructor(count = 0) {
    for (let n = 0; n < count; n++) this.pairs.push(pair(n));
  }

  deps(): FeedDeps {
    return {
      page: async (view, options, signal) => {
        this.calls.push(`page ${view.q} ${options.cursor ?? options.to ?? ''}`.trim());
        const answer = this.#page(view, options);
        await this.#answer(signal);
        return answer;
      },
      histogram: async (view, buckets, signal) => {
        this.calls.push(`histogram ${view.q}`.trim());
        const answer = this.#histogram(view, buckets);
        await this.#answer(signal);
        return answer;
      },
      tail: (view, handlers) => {
        const tail = { view, handlers, running: false };
        this.tails.push(tail);
        return {
          start: () => {
            tail.running = true;
            if (this.openTails) this.open(tail);
          },
          stop: () => {
            tail.running = false;
          },
          retryNow: () => {
            if (tail.running) this.open(tail);
          },
        };
      },
      frame: (callback) => {
        this.#frames.push(callback);
      },
    };
  }

  open(tail: { handlers: TailHandlers }): void {
    tail.handlers.onState({ kind: 'live' });
    tail.handlers.onOpen();
  }

  /** Stores pairs, and sends them to whoever is connected. */
  add(...pairs: PairSummary[]): void {
    for (const p of pairs) {
      this.pairs.push(p);
      for (const tail of this.tails) {
        if (tail.running && matches(tail.view.q, p)) tail.handlers.onPair(p);
      }
    }
  }

  /** The browser paints. */
  paint(): void {
    for (const callback of this.#frames.splice(0)) callback();
  }

  async #answer(signal: AbortSignal): Promise<void> {
    if (this.gate) await this.gate;
    if (signal.aborted) throw new DOMException('aborted', 'AbortError');
    if (this.fail) throw this.fail;
  }

  #newest(view: View, to?: string): PairSummary[] {
    const end = to ?? view.range.to;
    const from = Date.parse(view.range.from);
    return this.pairs
      .filter((p) => matches(view.q, p) && (!end || p.time < end) && (Number.isNaN(from) || Date.parse(p.time) >= from))
      .toSorted((a, b) => (a.time < b.time ? 1 : a.time > b.time ? -1 : a.id < b.id ? 1 : -1));
  }

  #page(view: View, options: { cursor?: string; to?: string }): PairPage {
    const all = this.#newest(view, options.to);
    // A cursor is the id of the last row before it.
    const at = options.cursor ? all.findIndex((p) => p.id === options.cursor) + 1 : 0;
    const pairs = all.slice(at, at + this.pageSize);
    const last = pairs.at(-1);
    return { pairs, next_cursor: last && at + pairs.length < all.length ? last.id : null, partial: false, partial_reason: '', scanned: 0, of: 0 };
  }

  #histogram(view: View, buckets: number): Histogram {
    const all = this.#newest(view);
    const first = Date.parse(view.range.from) || Date.parse(all.at(-1)?.time ?? '') || start;
    const last = Date.parse(view.range.to ?? '') || Date.parse(all[0]?.time ?? '') + 1 || start + 1;
    const step = Math.max(1, Math.ceil((last - first) / buckets));
    const answer: Histogram = { from: new Date(first).toISOString(), to: new Date(last).toISOString(), step_ns: step * 1e6, buckets: [], total: 0, estimated_total: 0, sampled: false, partial: false };
    for (let i = 0; i < buckets; i++) {
      answer.buckets.push({ time: new Date(first + i * step).toISOString(), counts: classes(), estimated: classes() });
    }
    answer.to = new Date(first + buckets * step).toISOString();
    for (const p of all) {
      const bucket = answer.buckets[Math.floor((Date.parse(p.time) - first) / step)];
      if (!bucket) continue;
      bucket.counts['2xx']++;
      bucket.estimated['2xx'] += p.sample_weight;
      answer.total++;
      answer.estimated_total += p.sample_weight;
      answer.sampled ||= p.sample_weight > 1;
    }
    return answer;
  }
}

/** Counts of a bucket, all of them answered well. */
export function classes(n = 0): HistogramBucket['counts'] {
  return { '1xx': 0, '2xx': n, '3xx': 0, '4xx': 0, '5xx': 0, none: 0 };
}

function matches(q: string, p: PairSummary): boolean {
  return q === '' || p.path.includes(q);
}
