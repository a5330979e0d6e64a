import type { BodyReader, BodyFacts, LoadedPair } from './body-reader';
import { BodyReader as Reader, readPair } from './body-reader';
import { compareBodies, type BodyDifference, type ComparedBody } from './compare/bodies';
import type { IgnoreRule } from './compare/ignore';
import { startWorker } from './worker-policy';

/** Up to this many bytes a body is looked into in place: that takes less than a frame or two. */
const inPlace = 200_000;

export type WorkerCall = { id: number } & (
  | { act: 'open'; reader: number; bytes: Uint8Array; type: string; truncated: boolean }
  | { act: 'close'; reader: number }
  | { act: 'ask'; reader: number; method: Exclude<keyof BodyReader, 'facts'>; args: unknown[] }
  | { act: 'pair'; bytes: Uint8Array }
  | { act: 'compare'; a: ComparedBody; b: ComparedBody; rules: readonly IgnoreRule[] }
);
export type WorkerAnswer = { id: number; value: unknown } | { id: number; error: string };

type CallBody = WorkerCall extends infer C ? (C extends { id: number } ? Omit<C, 'id'> : never) : never;

/** A reader that may be on another thread: it answers at once, or later. */
export type AnyReader = {
  [K in keyof BodyReader]: (...args: Parameters<BodyReader[K]>) => ReturnType<BodyReader[K]> | Promise<ReturnType<BodyReader[K]>>;
};

export interface OpenedBody {
  facts: BodyFacts;
  reader: AnyReader;
  /** Lets go of what the thread holds. */
  close: () => void;
}

let worker: Worker | null | undefined;
let last = 0;
const waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();

/** The thread; null where the browser has none or lets none start, and everything is done in place. */
function thread(): Worker | null {
  if (worker !== undefined) return worker;
  worker = startWorker();
  worker?.addEventListener('message', ({ data }: MessageEvent<WorkerAnswer>) => {
    const caller = waiting.get(data.id);
    waiting.delete(data.id);
    if ('error' in data) caller?.reject(new Error(data.error));
    else caller?.resolve(data.value as never);
  });
  worker?.addEventListener('error', () => {
    // What it held is gone with it; the next call starts another.
    worker?.terminate();
    worker = undefined;
    for (const { reject } of waiting.values()) reject(new Error('The thread that reads bodies ended: the body may be too large for this browser. Download it instead.'));
    waiting.clear();
  });
  return worker;
}

function ask<T>(to: Worker, call: CallBody): Promise<T> {
  const id = ++last;
  return new Promise<T>((resolve, reject) => {
    waiting.set(id, { resolve: resolve as (value: never) => void, reject });
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker has no origin to name
    to.postMessage({ ...call, id });
  });
}

/** Looks into a body: in place where it is small, else on the other thread. */
export function openBody(bytes: Uint8Array, type: string, truncated: boolean): OpenedBody | Promise<OpenedBody> {
  const away = bytes.length > inPlace ? thread() : null;
  if (!away) {
    const reader = new Reader(bytes, type, truncated);
    return { facts: reader.facts(), reader, close: () => undefined };
  }
  const id = ++last;
  return ask<BodyFacts>(away, { act: 'open', reader: id, bytes, type, truncated }).then((facts) => {
    const call =
      <K extends Exclude<keyof BodyReader, 'facts'>>(method: K) =>
      (...args: Parameters<BodyReader[K]>) =>
        ask<ReturnType<BodyReader[K]>>(away, { act: 'ask', reader: id, method, args });
    return {
      facts,
      reader: {
        facts: () => facts,
        text: call('text'), rowCount: call('rowCount'), rows: call('rows'), findText: call('findText'), textHit: call('textHit'),
        treeLines: call('treeLines'), toggle: call('toggle'), fold: call('fold'), findTree: call('findTree'), treeHit: call('treeHit'), value: call('value'),
      },
      close: () => void ask(away, { act: 'close', reader: id }).catch(() => undefined),
    };
  });
}

/** Reads a pair's document, away from the page where it is large. */
export function loadPair(bytes: Uint8Array): LoadedPair | Promise<LoadedPair> {
  const away = bytes.length > inPlace ? thread() : null;
  return away ? ask<LoadedPair>(away, { act: 'pair', bytes }) : readPair(bytes);
}

/** What is different between two bodies, found away from the page where they are large. */
export function differenceOf(a: ComparedBody, b: ComparedBody, rules: readonly IgnoreRule[]): BodyDifference | Promise<BodyDifference> {
  const away = a.bytes.length + b.bytes.length > inPlace ? thread() : null;
  return away ? ask<BodyDifference>(away, { act: 'compare', a, b, rules }) : compareBodies(a, b, rules);
}
