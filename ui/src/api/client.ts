import { at } from '../lib/root';
import { visibleText } from '../lib/visible';
import type { ProblemDocument, QueryMistake } from './types';

/** The analyzer answered, and said no. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly document: ProblemDocument,
  ) {
    // Its words may quote what somebody else wrote.
    super(visibleText(document.detail || document.title || `The analyzer answered ${status}.`));
  }

  /** Mistakes of the query, where that is the problem; else empty. */
  get mistakes(): QueryMistake[] {
    return this.isQuery ? (this.document.errors ?? []) : [];
  }

  get isQuery(): boolean {
    return this.status === 400 && this.document.type === 'urn:weir:problem:query';
  }

  /** The call is not built yet in this analyzer. */
  get notBuilt(): boolean {
    return this.status === 501;
  }
}

/** The analyzer did not answer at all: it is down, restarting, or out of reach. */
export class Unreachable extends Error {
  constructor(cause: unknown) {
    super('The analyzer is not answering.', { cause });
  }
}

export type Params = Record<string, string | number | boolean | undefined>;

export function address(path: string, params: Params = {}): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== undefined && value !== '') search.set(name, String(value));
  }
  const text = search.toString();
  return at(`api/v1/${path}`) + (text ? `?${text}` : '');
}

/** A successful answer, or Problem, or Unreachable, or an AbortError. */
export async function call(path: string, params?: Params, init?: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(address(path, params), { credentials: 'same-origin', ...init });
  } catch (error) {
    if (init?.signal?.aborted) throw error;
    throw new Unreachable(error);
  }
  if (response.ok) return response;
  // A gateway before an analyzer that is down answers these in its place.
  const isProblem = response.headers.get('content-type')?.includes('problem+json') ?? false;
  if (!isProblem && [502, 503, 504].includes(response.status)) throw new Unreachable(response.status);
  let document: ProblemDocument = {};
  if (isProblem) {
    try {
      document = (await response.json()) as ProblemDocument;
    } catch {
      // Half an answer is still a refusal; its status says which.
    }
  }
  throw new Problem(response.status, document);
}

export async function getJson<T>(path: string, params?: Params, signal?: AbortSignal): Promise<T> {
  const response = await call(path, params, { signal, headers: { accept: 'application/json' } });
  try {
    return (await response.json()) as T;
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Unreachable(error);
  }
}
