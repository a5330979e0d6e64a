import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Problem, Unreachable } from '../api/client';
import type { PairSummary } from '../api/types';
import { pair } from './fake';
import { retryDelay, Tail, type TailState } from './tail';

const encoder = new TextEncoder();

/** One connection that the test feeds. */
class Connection {
  controller!: ReadableStreamDefaultController<Uint8Array>;
  stream = new ReadableStream<Uint8Array>({ start: (c) => void (this.controller = c) });
  send(text: string): void {
    this.controller.enqueue(encoder.encode(text));
  }
}

function setUp(options: { random?: () => number; silenceMs?: number } = {}) {
  const connections: Connection[] = [];
  const resumes: (string | null)[] = [];
  const states: TailState[] = [];
  const pairs: PairSummary[] = [];
  const refuse: Error[] = [];
  let dropped = 0;
  let opens = 0;
  const tail = new Tail(
    {
      random: () => 0.5,
      ...options,
      connect: (resume) => {
        resumes.push(resume);
        const error = refuse.shift();
        if (error) return Promise.reject(error);
        const connection = new Connection();
        connections.push(connection);
        return Promise.resolve(connection.stream);
      },
    },
    {
      onPair: (p) => pairs.push(p),
      onDropped: (n) => (dropped += n),
      onOpen: () => opens++,
      onState: (s) => states.push(s),
    },
  );
  return { tail, connections, resumes, states, pairs, refuse, dropped: () => dropped, opens: () => opens };
}

const tick = () => vi.advanceTimersByTimeAsync(0);

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('delivers pairs and the number of those left out', async () => {
  const t = setUp();
  t.tail.start();
  await tick();
  t.connections[0]?.send(`event: pair\nid: 5\ndata: ${JSON.stringify(pair(1))}\n\nevent: dropped\ndata: {"count":3}\n\nevent: pair\ndata: {broken\n\n`);
  await tick();
  expect(t.pairs).toEqual([pair(1)]);
  expect(t.dropped()).toBe(3);
  expect(t.states.map((s) => s.kind)).toEqual(['connecting', 'live']);
  t.tail.stop();
});

describe('comes back', () => {
  test('behind the last event that it saw', async () => {
    const t = setUp();
    t.tail.start();
    await tick();
    t.connections[0]?.send(`event: pair\nid: 41\ndata: ${JSON.stringify(pair(1))}\n\nid: 44\n\n`);
    await tick();
    t.connections[0]?.controller.close();
    await tick();
    expect(t.states.at(-1)?.kind).toBe('waiting');
    await vi.advanceTimersByTimeAsync(20_000);
    expect(t.resumes).toEqual([null, '44']);
    expect(t.opens()).toBe(2);
    t.tail.stop();
  });

  test('after longer and longer waits, never later than ten seconds, never giving up', async () => {
    const t = setUp({ silenceMs: 1e9 });
    for (let i = 0; i < 30; i++) t.refuse.push(new Unreachable('gone'));
    t.tail.start();
    await vi.advanceTimersByTimeAsync(30 * 10_000);
    expect(t.opens()).toBe(1);
    expect(t.resumes).toHaveLength(31);
    t.tail.stop();
  });

  test('at once when the reader asks', async () => {
    const t = setUp();
    t.refuse.push(new Unreachable('gone'));
    t.tail.start();
    await tick();
    expect(t.opens()).toBe(0);
    t.tail.retryNow();
    await tick();
    expect(t.opens()).toBe(1);
    t.tail.stop();
  });

  test('when the line is dead silent', async () => {
    const t = setUp({ silenceMs: 30_000 });
    t.tail.start();
    await tick();
    for (let i = 0; i < 3; i++) {
      await vi.advanceTimersByTimeAsync(25_000);
      t.connections[0]?.send(': still here\n\n');
      await tick();
    }
    expect(t.opens()).toBe(1);
    await vi.advanceTimersByTimeAsync(45_000);
    expect(t.opens()).toBe(2);
    t.tail.stop();
  });

  test('from now where the old place is refused', async () => {
    const t = setUp();
    t.tail.start();
    await tick();
    t.connections[0]?.send('id: 9\n\n');
    await tick();
    t.refuse.push(new Problem(400, { type: 'urn:weir:problem:parameter' }));
    t.connections[0]?.controller.close();
    await vi.advanceTimersByTimeAsync(20_000);
    expect(t.resumes).toEqual([null, '9', null]);
    t.tail.stop();
  });
});

test('a refused query is not asked again', async () => {
  const t = setUp();
  t.refuse.push(new Problem(400, { type: 'urn:weir:problem:query' }));
  t.tail.start();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(t.resumes).toHaveLength(1);
  expect(t.states.at(-1)?.kind).toBe('refused');
});

test('nothing happens after it was stopped', async () => {
  const t = setUp();
  t.tail.start();
  await tick();
  t.tail.stop();
  const { length } = t.states;
  await vi.advanceTimersByTimeAsync(60_000);
  expect([t.pairs, t.states.length, t.resumes.length]).toEqual([[], length, 1]);
  // The connection was given back.
  expect(() => t.connections[0]?.send('x')).toThrow();
});

test('waits differ between tabs, so that they do not come back together', () => {
  expect(retryDelay(0, () => 0)).toBe(250);
  expect(retryDelay(0, () => 1)).toBe(500);
  expect(retryDelay(3, () => 0)).toBe(2000);
  expect(retryDelay(1000, () => 1)).toBe(10_000);
});
