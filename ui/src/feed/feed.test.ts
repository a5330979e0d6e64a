import { describe, expect, test, vi } from 'vitest';
import { Problem, Unreachable } from '../api/client';
import { FakeAnalyzer, pair } from './fake';
import { Feed, type FeedLimits } from './feed';

async function opened(analyzer: FakeAnalyzer, limits: Partial<FeedLimits> = {}, q = '', range: { from: string; to?: string } = { from: 'all' }) {
  const feed = new Feed(analyzer.deps(), limits);
  feed.open({ q, range });
  await settled(feed);
  return feed;
}

/** All that was asked for has been answered. */
async function settled(feed: Feed) {
  for (let i = 0; i < 200; i++) {
    const before = feed.version();
    await new Promise((resolve) => setTimeout(resolve, 0));
    if (!feed.loading && before === feed.version()) return;
  }
  throw new Error('the feed does not come to rest');
}

const paths = (feed: Feed, first: number, last: number) =>
  Array.from({ length: last - first }, (_, i) => feed.rowAt(first + i)?.path ?? null);

describe('loading', () => {
  test('newest first, with the count of all', async () => {
    const feed = await opened(new FakeAnalyzer(250));
    expect(paths(feed, 0, 3)).toEqual(['/n/249', '/n/248', '/n/247']);
    expect([feed.total, feed.totalExact]).toEqual([250, true]);
    expect(feed.chart?.total).toBe(250);
  });

  test('older pages come as the window gets there', async () => {
    const analyzer = new FakeAnalyzer(250);
    const feed = await opened(analyzer);
    expect(feed.rowAt(150)).toBeUndefined();
    feed.ensure(90, 120);
    await settled(feed);
    feed.ensure(190, 240);
    await settled(feed);
    expect(paths(feed, 0, 250)).toEqual(Array.from({ length: 250 }, (_, i) => `/n/${249 - i}`));
    expect(analyzer.calls.filter((c) => c.startsWith('page'))).toHaveLength(3);
  });

  test('a far jump asks for that place, not for all before it', async () => {
    const analyzer = new FakeAnalyzer(20_000);
    const feed = await opened(analyzer);
    feed.ensure(15_000, 15_030);
    await settled(feed);
    expect(paths(feed, 15_000, 15_031)).toEqual(Array.from({ length: 31 }, (_, i) => `/n/${4999 - i}`));
    expect(analyzer.calls.filter((c) => c.startsWith('page')).length).toBeLessThan(6);
    expect(feed.rowAt(5000)).toBeUndefined();
    // And back, through what was jumped over.
    feed.ensure(14_700, 14_730);
    await settled(feed);
    expect(paths(feed, 14_700, 14_703)).toEqual(['/n/5299', '/n/5298', '/n/5297']);
  });

  test('what is held has a limit; what went can come back', async () => {
    const analyzer = new FakeAnalyzer(5000);
    const feed = await opened(analyzer, { rows: 500 });
    for (let at = 0; at < 3000; at += 100) {
      feed.ensure(at, at + 30);
      await settled(feed);
      expect(paths(feed, at, at + 30).every((p, i) => p === `/n/${4999 - at - i}`)).toBe(true);
    }
    let held = 0;
    for (let i = 0; i < 5000; i++) if (feed.rowAt(i)) held++;
    expect(held).toBeLessThanOrEqual(600);
    feed.ensure(0, 30);
    await settled(feed);
    expect(feed.rowAt(0)?.path).toBe('/n/4999');
  });

  test('another query keeps the old rows, marked, until its answer is there', async () => {
    const analyzer = new FakeAnalyzer(20);
    const feed = await opened(analyzer);
    let open = () => {};
    analyzer.gate = new Promise((resolve) => (open = resolve));
    feed.open({ q: '/n/7', range: { from: 'all' } });
    await new Promise((resolve) => setTimeout(resolve, 0));
    expect([feed.stale, feed.rowAt(0)?.path]).toEqual([true, '/n/19']);
    analyzer.gate = null;
    open();
    await settled(feed);
    expect([feed.stale, feed.total, feed.rowAt(0)?.path]).toEqual([false, 1, '/n/7']);
  });

  test('a late answer to an earlier question is not shown', async () => {
    const analyzer = new FakeAnalyzer(20);
    const feed = new Feed(analyzer.deps());
    let open = () => {};
    analyzer.gate = new Promise((resolve) => (open = resolve));
    feed.open({ q: '/n/3', range: { from: 'all' } });
    await new Promise((resolve) => setTimeout(resolve, 0));
    analyzer.gate = null;
    feed.open({ q: '/n/5', range: { from: 'all' } });
    await settled(feed);
    open();
    await settled(feed);
    expect([feed.total, feed.rowAt(0)?.path]).toEqual([1, '/n/5']);
  });

  test('a mistake in the query is an error, never "no filter"', async () => {
    const analyzer = new FakeAnalyzer(20);
    const feed = await opened(analyzer);
    analyzer.fail = new Problem(400, { type: 'urn:weir:problem:query', detail: 'Unknown field' });
    feed.open({ q: 'stauts:1', range: { from: 'all' } });
    await settled(feed);
    expect(feed.error).toBe(analyzer.fail);
    expect(feed.stale).toBe(true);
    analyzer.paint();
    analyzer.add(pair(21));
    analyzer.paint();
    expect(feed.rowAt(0)?.path).toBe('/n/19');
  });

  test('one refusal is enough: a tail that was refused for its query stops the other calls', async () => {
    const analyzer = new FakeAnalyzer(5);
    analyzer.openTails = false;
    const feed = new Feed(analyzer.deps());
    const problem = new Problem(400, { type: 'urn:weir:problem:query' });
    feed.open({ q: 'x:', range: { from: '15m' } });
    analyzer.tails[0]?.handlers.onState({ kind: 'refused', problem });
    await settled(feed);
    expect(feed.error).toBe(problem);
    expect(analyzer.calls).toEqual([]);
  });

  test('a range in the past has no tail', async () => {
    const analyzer = new FakeAnalyzer(50);
    const feed = await opened(analyzer, {}, '', { from: pair(10).time, to: pair(20).time });
    expect(paths(feed, 0, 11)).toEqual([...Array.from({ length: 10 }, (_, i) => `/n/${19 - i}`), null]);
    expect(analyzer.tails).toHaveLength(0);
  });
});

describe('live', () => {
  test('rows come in at the top, once a frame', async () => {
    const analyzer = new FakeAnalyzer(5);
    const feed = await opened(analyzer);
    analyzer.paint();
    const told = vi.fn();
    feed.subscribe(told);
    for (let n = 5; n < 2005; n++) analyzer.add(pair(n));
    expect(told).not.toHaveBeenCalled();
    analyzer.paint();
    expect(told).toHaveBeenCalledTimes(1);
    expect(feed.total).toBe(2005);
    expect(paths(feed, 0, 2)).toEqual(['/n/2004', '/n/2003']);
    expect(feed.chart?.total).toBe(2005);
  });

  test('the chart grows with them, bar by bar', async () => {
    const analyzer = new FakeAnalyzer(121);
    const feed = await opened(analyzer);
    const { buckets } = feed.chart as NonNullable<typeof feed.chart>;
    expect(buckets).toHaveLength(120);
    analyzer.add(pair(122), pair(123), pair(124));
    analyzer.paint();
    const chart = feed.chart as NonNullable<typeof feed.chart>;
    expect(chart.buckets.slice(120).map((b) => b.counts['2xx'])).toEqual([0, 1, 1, 1]);
    expect(chart.buckets.map((b) => Date.parse(b.time)).every((t, i) => t === Date.parse(chart.from) + i * 1001)).toBe(true);
    expect([chart.total, Date.parse(chart.to) - Date.parse(chart.from)]).toEqual([124, 124 * 1001]);
  });

  test('the chart of a range that moves with time moves on, and counts what is left in it', async () => {
    const analyzer = new FakeAnalyzer(121);
    const feed = await opened(analyzer, {}, '', { from: '15m' });
    const gone = (feed.chart?.buckets ?? []).slice(0, 4).reduce((n, b) => n + b.counts['2xx'], 0);
    analyzer.add(pair(122), pair(123), pair(124));
    analyzer.paint();
    const chart = feed.chart as NonNullable<typeof feed.chart>;
    expect(chart.buckets).toHaveLength(120);
    expect(chart.buckets.at(-1)?.counts['2xx']).toBe(1);
    expect(chart.total).toBe(124 - gone);
    expect(chart.from).toBe(chart.buckets[0]?.time);
  });

  test('by the time of the request, not of arrival', async () => {
    const analyzer = new FakeAnalyzer(0);
    const feed = await opened(analyzer);
    analyzer.add(pair(1), pair(5));
    analyzer.paint();
    analyzer.add(pair(3));
    analyzer.paint();
    expect(paths(feed, 0, 3)).toEqual(['/n/5', '/n/3', '/n/1']);
  });

  test('a row that is told twice is there once', async () => {
    const analyzer = new FakeAnalyzer(3);
    const feed = await opened(analyzer);
    analyzer.tails[0]?.handlers.onPair(pair(2));
    analyzer.tails[0]?.handlers.onPair(pair(3));
    analyzer.tails[0]?.handlers.onPair(pair(3));
    analyzer.paint();
    expect(paths(feed, 0, 5)).toEqual(['/n/3', '/n/2', '/n/1', '/n/0', null]);
    expect(feed.total).toBe(4);
  });

  test('older pages still fit below rows that came in', async () => {
    const analyzer = new FakeAnalyzer(250);
    const feed = await opened(analyzer);
    for (let n = 250; n < 280; n++) analyzer.add(pair(n));
    analyzer.paint();
    feed.ensure(100, 279);
    await settled(feed);
    feed.ensure(200, 279);
    await settled(feed);
    expect(paths(feed, 0, 280)).toEqual(Array.from({ length: 280 }, (_, i) => `/n/${279 - i}`));
  });

  test('a far jump counts what came in since', async () => {
    const analyzer = new FakeAnalyzer(10_000);
    const feed = await opened(analyzer);
    for (let n = 10_000; n < 10_040; n++) analyzer.add(pair(n));
    analyzer.paint();
    feed.ensure(8000, 8020);
    await settled(feed);
    expect(feed.rowAt(8000)?.path).toBe('/n/2039');
  });
});

describe('holding still', () => {
  test('rows wait and are counted, then come in at once', async () => {
    const analyzer = new FakeAnalyzer(5);
    const feed = await opened(analyzer);
    feed.hold(true);
    for (let n = 5; n < 129; n++) analyzer.add(pair(n));
    analyzer.paint();
    expect([feed.rowAt(0)?.path, feed.total, feed.pendingCount]).toEqual(['/n/4', 5, 124]);
    feed.hold(false);
    expect([feed.rowAt(0)?.path, feed.total, feed.pendingCount]).toEqual(['/n/128', 129, 0]);
  });

  test('more than are kept are still counted, and fetched again', async () => {
    const analyzer = new FakeAnalyzer(5);
    const feed = await opened(analyzer, { pending: 10 });
    feed.hold(true);
    for (let n = 5; n < 55; n++) analyzer.add(pair(n));
    analyzer.paint();
    expect(feed.pendingCount).toBe(50);
    feed.hold(false);
    await settled(feed);
    expect([feed.rowAt(0)?.path, feed.total, feed.pendingCount]).toEqual(['/n/54', 55, 0]);
  });

  test('what is counted already is not counted again when the tail comes back', async () => {
    const analyzer = new FakeAnalyzer(5);
    const feed = await opened(analyzer, { pending: 10 });
    feed.hold(true);
    for (let n = 5; n < 55; n++) analyzer.add(pair(n));
    analyzer.paint();
    expect([feed.pendingCount, feed.pendingExact]).toEqual([50, true]);
    analyzer.open(analyzer.tails[0] as NonNullable<(typeof analyzer.tails)[0]>);
    await settled(feed);
    analyzer.paint();
    expect([feed.pendingCount, feed.pendingExact]).toEqual([50, false]);
    feed.hold(false);
    await settled(feed);
    expect([feed.total, feed.pendingCount, feed.pendingExact]).toEqual([55, 0, true]);
  });

  test('a burst that no frame could take is fetched again', async () => {
    const analyzer = new FakeAnalyzer(5);
    const feed = await opened(analyzer, { incoming: 10 });
    for (let n = 5; n < 55; n++) analyzer.add(pair(n));
    analyzer.paint();
    await settled(feed);
    expect(paths(feed, 0, 55)).toEqual(Array.from({ length: 55 }, (_, i) => `/n/${54 - i}`));
  });
});

describe('the analyzer goes away', () => {
  test('what passed meanwhile is filled in when the tail is back; the filter stays', async () => {
    const analyzer = new FakeAnalyzer(30);
    const feed = await opened(analyzer, {}, '/n/2');
    const tail = analyzer.tails[0] as NonNullable<(typeof analyzer.tails)[0]>;
    expect(feed.total).toBe(11);
    tail.running = false;
    tail.handlers.onState({ kind: 'waiting', retryAt: 0, error: new Unreachable('gone') });
    expect(feed.tail.kind).toBe('waiting');
    analyzer.add(pair(30), pair(200), pair(31), pair(201));
    tail.running = true;
    analyzer.open(tail);
    await settled(feed);
    analyzer.paint();
    expect(paths(feed, 0, 4)).toEqual(['/n/201', '/n/200', '/n/29', '/n/28']);
    expect(feed.total).toBe(13);
  });

  test('a gap longer than a page means a fresh start', async () => {
    const analyzer = new FakeAnalyzer(10);
    const feed = await opened(analyzer);
    const tail = analyzer.tails[0] as NonNullable<(typeof analyzer.tails)[0]>;
    tail.running = false;
    for (let n = 10; n < 400; n++) analyzer.add(pair(n));
    tail.running = true;
    analyzer.open(tail);
    await settled(feed);
    analyzer.paint();
    expect([feed.total, feed.rowAt(0)?.path, feed.rowAt(99)?.path]).toEqual([400, '/n/399', '/n/300']);
  });

  test('rows that the tail had to leave out are fetched', async () => {
    const analyzer = new FakeAnalyzer(10);
    const feed = await opened(analyzer);
    analyzer.pairs.push(pair(10), pair(11));
    analyzer.tails[0]?.handlers.onDropped(2);
    await settled(feed);
    analyzer.paint();
    expect(paths(feed, 0, 3)).toEqual(['/n/11', '/n/10', '/n/9']);
  });

  test('a tail that opens after the first page was asked for leaves no gap', async () => {
    const analyzer = new FakeAnalyzer(10);
    analyzer.openTails = false;
    const feed = new Feed(analyzer.deps());
    feed.open({ q: '', range: { from: 'all' } });
    await vi.waitFor(() => expect(feed.loading).toBe(false));
    analyzer.pairs.push(pair(10));
    analyzer.open(analyzer.tails[0] as NonNullable<(typeof analyzer.tails)[0]>);
    await settled(feed);
    analyzer.paint();
    expect(feed.rowAt(0)?.path).toBe('/n/10');
  });

  test('a page that could not be loaded leaves the rest, and can be asked for again', async () => {
    const analyzer = new FakeAnalyzer(250);
    const feed = await opened(analyzer);
    analyzer.fail = new Unreachable('gone');
    feed.ensure(90, 120);
    await settled(feed);
    expect(feed.pageError).toBe(analyzer.fail);
    expect(feed.rowAt(0)?.path).toBe('/n/249');
    analyzer.fail = null;
    feed.goOn();
    await settled(feed);
    expect([feed.pageError, feed.rowAt(120)?.path]).toEqual([null, '/n/129']);
  });

  test('a first answer that never came is asked for again when the tail opens', async () => {
    const analyzer = new FakeAnalyzer(10);
    analyzer.openTails = false;
    analyzer.fail = new Unreachable('gone');
    const feed = new Feed(analyzer.deps());
    feed.open({ q: '', range: { from: 'all' } });
    await vi.waitFor(() => expect(feed.error).not.toBeNull());
    analyzer.fail = null;
    analyzer.openTails = true;
    analyzer.open(analyzer.tails[0] as NonNullable<(typeof analyzer.tails)[0]>);
    await settled(feed);
    expect([feed.error, feed.total]).toEqual([null, 10]);
  });
});
