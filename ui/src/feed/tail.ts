import { Problem, Unreachable } from '../api/client';
import type { PairSummary } from '../api/types';
import { EventParser } from '../lib/sse';

export type TailState =
  | { kind: 'connecting' }
  | { kind: 'live' }
  /** Not connected; the next try is at retryAt (milliseconds since 1970). */
  | { kind: 'waiting'; retryAt: number; error: Error }
  /** The analyzer refuses this tail; trying again would not help. */
  | { kind: 'refused'; problem: Problem }
  | { kind: 'stopped' };

export interface TailHandlers {
  onPair(pair: PairSummary): void;
  /** The analyzer could not keep up with this reader and left n pairs out. */
  onDropped(n: number): void;
  /** Connected, the first time or again: what passed meanwhile may be missing. */
  onOpen(): void;
  onState(state: TailState): void;
}

export interface TailOptions {
  /** Opens the stream; resume is the last event's id. Rejects with Problem or Unreachable. */
  connect(resume: string | null, signal: AbortSignal): Promise<ReadableStream<Uint8Array>>;
  random?: () => number;
  /** Without a byte for this long the connection counts as dead. */
  silenceMs?: number;
}

const firstDelayMs = 500;
const longestDelayMs = 10_000;

/** Waiting time before try number `attempt` (0, 1, 2 …): doubling, the upper half of it random. */
export function retryDelay(attempt: number, random: () => number): number {
  const ceiling = Math.min(longestDelayMs, firstDelayMs * 2 ** Math.min(attempt, 10));
  return ceiling / 2 + (ceiling / 2) * random();
}

/**
 * A live tail that comes back by itself: after a restart of the analyzer it
 * resumes behind the last event that it saw. It never gives up.
 */
export class Tail {
  #resume: string | null = null;
  #attempt = 0;
  #abort: AbortController | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #stopped = true;

  constructor(
    private readonly options: TailOptions,
    private readonly handlers: TailHandlers,
  ) {}

  start(): void {
    if (!this.#stopped) return;
    this.#stopped = false;
    this.#attempt = 0;
    void this.#run();
  }

  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#abort?.abort();
    this.#abort = null;
    this.handlers.onState({ kind: 'stopped' });
  }

  /** Cuts a waiting time short. */
  retryNow(): void {
    if (this.#stopped || this.#abort) return;
    clearTimeout(this.#timer);
    void this.#run();
  }

  async #run(): Promise<void> {
    const abort = new AbortController();
    this.#abort = abort;
    this.handlers.onState({ kind: 'connecting' });
    let error: Error;
    try {
      const stream = await this.options.connect(this.#resume, abort.signal);
      if (abort.signal.aborted) return;
      this.handlers.onState({ kind: 'live' });
      this.handlers.onOpen();
      await this.#read(stream, abort);
      error = new Unreachable('the stream ended');
    } catch (caught) {
      error = caught instanceof Error ? caught : new Unreachable(caught);
    }
    if (this.#stopped || this.#abort !== abort) return;
    abort.abort();
    this.#abort = null;
    if (error instanceof Problem && error.status >= 400 && error.status < 500 && error.status !== 429) {
      if (this.#resume === null) {
        this.handlers.onState({ kind: 'refused', problem: error });
        this.#stopped = true;
        return;
      }
      // The place to resume from may be gone (retention, another data
      // directory): begin with now; onOpen fills the gap from the list.
      this.#resume = null;
    }
    const delay = retryDelay(this.#attempt++, this.options.random ?? Math.random);
    this.handlers.onState({ kind: 'waiting', retryAt: Date.now() + delay, error });
    this.#timer = setTimeout(() => void this.#run(), delay);
  }

  async #read(stream: ReadableStream<Uint8Array>, abort: AbortController): Promise<void> {
    const parser = new EventParser((event) => {
      let data: unknown;
      try {
        data = JSON.parse(event.data);
      } catch {
        return;
      }
      if (event.type === 'pair') this.handlers.onPair(data as PairSummary);
      else if (event.type === 'dropped') this.handlers.onDropped((data as { count?: number }).count ?? 1);
    });
    const silence = this.options.silenceMs ?? 60_000;
    const decoder = new TextDecoder();
    const reader = stream.getReader();
    let watchdog = setTimeout(() => abort.abort(), silence);
    // A stream that was made elsewhere does not know of the signal.
    const cancel = () => void reader.cancel().catch(() => undefined);
    abort.signal.addEventListener('abort', cancel);
    try {
      for (;;) {
        const { value, done } = await reader.read();
        if (done || abort.signal.aborted) return;
        this.#attempt = 0;
        clearTimeout(watchdog);
        watchdog = setTimeout(() => abort.abort(), silence);
        parser.push(decoder.decode(value, { stream: true }));
        if (parser.lastId) this.#resume = parser.lastId;
      }
    } finally {
      clearTimeout(watchdog);
      abort.signal.removeEventListener('abort', cancel);
    }
  }
}
