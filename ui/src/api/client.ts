import { at } from '../lib/root';
import { visibleText } from '../lib/visible';
import type { ProblemDocument, QueryMistake, Role } from './types';

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

  /** Nobody is signed in, or not any more. */
  get signedOut(): boolean {
    return this.status === 401;
  }

  /** The role that the call needs and the reader does not have; null where that is not why. */
  get needs(): Role | null {
    return this.status === 403 ? (this.document.role || null) : null;
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

/** What to do when the analyzer does not know the reader any more; set once, by the page. */
let onSignedOut: () => void = () => undefined;

export function whenSignedOut(act: () => void): void {
  onSignedOut = act;
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
  const problem = new Problem(response.status, document);
  // A wrong password is the sign-in page's own affair.
  if (problem.signedOut && !path.startsWith('session')) onSignedOut();
  throw problem;
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

/** The bytes of an answer that is JSON, for somebody else to read. */
export async function getBytes(path: string, signal?: AbortSignal): Promise<Uint8Array> {
  const response = await call(path, undefined, { signal, headers: { accept: 'application/json' } });
  try {
    return new Uint8Array(await response.arrayBuffer());
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Unreachable(error);
  }
}

/** Sends a document, and resolves with the answer's; null where it has none. */
export async function sendJson<T>(method: 'POST' | 'PATCH' | 'DELETE', path: string, body?: object): Promise<T> {
  const response = await send(method, path, body);
  return (response.status === 204 ? null : await response.json()) as T;
}

/** Sends a document for an answer that is text. */
export async function sendForText(path: string, body: object): Promise<string> {
  return (await send('POST', path, body)).text();
}

function send(method: string, path: string, body?: object): Promise<Response> {
  return call(path, undefined, {
    method,
    ...(body ? { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) } : {}),
  });
}
