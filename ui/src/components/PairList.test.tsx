import { act, screen, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { beforeEach, expect, test, vi } from 'vitest';
import { FakeAnalyzer, pair } from '../feed/fake';
import { Feed, type FeedLimits } from '../feed/feed';
import { setPrefs } from '../lib/prefs';
import { show } from '../test-kit';
import { PairList } from './PairList';

beforeEach(() => {
  vi.spyOn(HTMLElement.prototype, 'clientHeight', 'get').mockReturnValue(260);
  setPrefs({ zone: 'utc' });
});

async function list(analyzer: FakeAnalyzer, change: Partial<Parameters<typeof PairList>[0]> = {}, limits: Partial<FeedLimits> = {}, from = 'all') {
  const feed = new Feed(analyzer.deps(), limits);
  feed.open({ q: '', range: { from } });
  await vi.waitFor(() => expect(feed.loading || !feed.chart).toBe(false));
  const props = { feed, cursor: null, open: null, onPick: vi.fn(), onAtTop: vi.fn(), onCatchUp: vi.fn(), scrollTo: null, empty: <p>nothing</p>, ...change };
  const view = show(<PairList {...props} />);
  return { feed, props, again: () => view.rerender(<PairList {...props} />) };
}

const row = (n: number) => document.getElementById(`row-${pair(n).id}`) as HTMLElement;

test('a row says what it is, with units, and the state is never colour alone', async () => {
  const analyzer = new FakeAnalyzer();
  analyzer.pairs = [
    pair(0, { method: 'POST', path: '/api/cart', query: 'a=1', status: 201, duration_ns: 14_200_000, response_size: 340_000 }),
    pair(1, { status: 503 }),
    pair(2, { status: 0, duration_ns: null, flags: ['no_response'], error: 'dial: connection refused' }),
    pair(3, { flags: ['redacted', 'truncated'] }),
    pair(4, { protocol: 'tls', method: '', path: '', host: 'shop.example', status: 0 }),
  ];
  await list(analyzer);
  expect(row(0).textContent).toBe('02-03 12:00:00.000POST/api/cart?a=120114 ms340 KBshop');
  expect(within(row(1)).getByTitle('503 Service Unavailable').querySelector('svg')).toBeTruthy();
  expect(row(2).textContent).toContain('no response');
  expect(within(row(2)).getByTitle('dial: connection refused').textContent).toBe('none');
  expect(row(2).textContent).toContain('––');
  expect(row(3).textContent).toContain('truncated');
  expect(within(row(3)).getByRole('img', { name: 'redacted' })).toBeTruthy();
  expect(row(4).textContent).toContain('TLS');
  expect(row(4).textContent).toContain('shop.example · carried unread');
});

test('text that would turn around or hide is shown as its code', async () => {
  const analyzer = new FakeAnalyzer();
  analyzer.pairs = [pair(0, { path: '/\u202egnp.exe' })];
  await list(analyzer);
  expect(row(0).textContent).toContain('/‹202E›gnp.exe');
});

test('only what is in sight is there, whatever the number', async () => {
  await list(new FakeAnalyzer(3000));
  expect(document.querySelectorAll('[role=row]').length).toBeLessThan(40);
  expect(screen.getByRole('grid').getAttribute('aria-rowcount')).toBe('3001');
});

test('a click picks the row', async () => {
  const { props } = await list(new FakeAnalyzer(5));
  await userEvent.click(row(3));
  expect(props.onPick).toHaveBeenCalledWith(pair(3).id);
});

test('the pill says how many wait', async () => {
  const analyzer = new FakeAnalyzer(5);
  const { feed, props, again } = await list(analyzer);
  feed.hold(true);
  act(() => {
    for (let n = 5; n < 129; n++) analyzer.add(pair(n));
    analyzer.paint();
  });
  again();
  await userEvent.click(screen.getByRole('button', { name: '124 new' }));
  expect(props.onCatchUp).toHaveBeenCalled();
});

test('the end says how many there were', async () => {
  await list(new FakeAnalyzer(3));
  expect(screen.getByText('3 pairs in this range.')).toBeTruthy();
});

test('the end counts what waits, too', async () => {
  const analyzer = new FakeAnalyzer(1);
  const { feed, again } = await list(analyzer);
  feed.hold(true);
  act(() => {
    for (let n = 1; n < 10; n++) analyzer.add(pair(n));
    analyzer.paint();
  });
  again();
  expect(feed.chart?.total).toBe(10);
  expect(screen.getByText('10 pairs in this range, 9 of them not in the list yet.')).toBeTruthy();
});

test('where a burst was lost, all counts say so', async () => {
  const analyzer = new FakeAnalyzer(1);
  const { feed, again } = await list(analyzer, {}, { incoming: 10 });
  feed.hold(true);
  act(() => {
    for (let n = 1; n < 50; n++) analyzer.add(pair(n));
    analyzer.paint();
  });
  again();
  expect(screen.getByText('At least 11 pairs in this range, 10 of them not in the list yet.')).toBeTruthy();
  expect(screen.getByRole('button', { name: 'at least 10 new' })).toBeTruthy();
});

test('a range that moves with time is named by its beginning', async () => {
  await list(new FakeAnalyzer(3), {}, {}, '15m');
  expect(screen.getByText('3 pairs since Feb 3 12:00.')).toBeTruthy();
});

test('an empty list shows what the page has to say', async () => {
  await list(new FakeAnalyzer(0));
  expect(screen.getByText('nothing')).toBeTruthy();
});

test('a pair that stands for others says so, and the count what all of them stand for', async () => {
  const analyzer = new FakeAnalyzer();
  analyzer.pairs = [pair(0, { sample_weight: 10 }), pair(1, { sample_weight: 10, flags: ['redacted'] }), pair(2)];
  await list(analyzer);
  expect(row(0).textContent).toContain('stands for 10');
  expect(within(row(0)).getByTitle(/^Kept by sampling/).querySelector('svg')).toBeTruthy();
  expect(row(1).textContent).toContain('redactedstands for 10');
  expect(row(2).textContent).not.toContain('stands for');
  expect(screen.getByText(/3 pairs in this range, which stand for ~21\./)).toBeTruthy();
});
