import type { Pair } from '../../api/types';
import { mediaType } from '../../lib/body';

export interface Operation {
  type: 'query' | 'mutation' | 'subscription' | '';
  /** Empty for one without a name. */
  name: string;
  /** Empty where only the hash of a stored document was sent. */
  document: string;
  hash: string;
  /** As JSON text; empty where there are none. */
  variables: string;
}

export interface GraphqlError {
  message: string;
  path: string;
  code: string;
}

export interface Result {
  /** Top-level fields of the data; null where there is no data. */
  fields: string[] | null;
  errors: GraphqlError[];
  data: string;
}

type Json = Record<string, unknown>;
const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value);
const text = (value: unknown) => (typeof value === 'string' ? value : '');

/** A document of the language, by its beginning: comments, then an operation, a fragment or a selection. */
const looksLikeDocument = /^(?:\s|#[^\n]*\n|,)*(?:query|mutation|subscription|fragment|\{)/;

/** Whether the pair is GraphQL over HTTP, told from the request alone. */
export function isGraphql(pair: Pick<Pair, 'protocol' | 'method' | 'path' | 'query' | 'request'>): boolean {
  if (pair.protocol !== 'http' || !pair.request) return false;
  if (pair.method === 'GET') return readUrl(pair.query) !== null;
  if (pair.method !== 'POST') return false;
  const type = mediaType(pair.request);
  if (type === 'application/graphql') return true;
  if (type !== '' && !type.includes('json')) return false;
  // A word that such a body has, before more is made of it.
  if (!/"(?:query|persistedQuery)"/.test(pair.request.body.slice(0, 200_000))) return false;
  return readRequest(pair.request.body, type) !== null;
}

/** Operations of a request's body; more than one where they were sent together. Null where it is no GraphQL. */
export function readRequest(body: string, type: string): Operation[] | null {
  if (type === 'application/graphql') return [operationOf({ query: body })];
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch {
    return null;
  }
  const list = Array.isArray(parsed) ? parsed : [parsed];
  if (list.length === 0 || !list.every(isOperation)) return null;
  return list.map(operationOf);
}

function isOperation(value: unknown): value is Json {
  if (!isObject(value)) return false;
  if (looksLikeDocument.test(text(value.query))) return true;
  return isObject(value.extensions) && isObject(value.extensions.persistedQuery);
}

/** The operation that a URL's query asks for; null where it is none. */
export function readUrl(query: string): Operation | null {
  const params = new URLSearchParams(query);
  const of = (name: string): unknown => {
    try {
      return JSON.parse(params.get(name) ?? 'null');
    } catch {
      return null;
    }
  };
  const value = { query: params.get('query') ?? '', operationName: params.get('operationName'), variables: of('variables'), extensions: of('extensions') };
  return isOperation(value) ? operationOf(value) : null;
}

function operationOf(value: Json): Operation {
  const document = text(value.query);
  const named = text(value.operationName);
  const plain = document.replace(/#[^\n]*/g, '');
  const found = [...plain.matchAll(/(?:^|[\s},])(query|mutation|subscription)\b\s*([_A-Za-z]\w*)?/g)];
  const chosen = found.find((m) => named !== '' && m[2] === named) ?? found[0];
  const persisted = isObject(value.extensions) && isObject(value.extensions.persistedQuery) ? value.extensions.persistedQuery : {};
  const variables = isObject(value.variables) && Object.keys(value.variables).length > 0 ? JSON.stringify(value.variables) : '';
  // A selection alone is a query without a name.
  const type = (chosen?.[1] ?? (document === '' ? '' : 'query')) as Operation['type'];
  return { type, name: named || (chosen?.[2] ?? ''), document, hash: text(persisted.sha256Hash), variables };
}

/** Results of a response's body, as many as operations were sent. Null where it is not what GraphQL answers. */
export function readResponse(body: string): Result[] | null {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch {
    return null;
  }
  const list = Array.isArray(parsed) ? parsed : [parsed];
  if (!list.every((r): r is Json => isObject(r) && ('data' in r || 'errors' in r))) return null;
  return list.map((r) => ({
    fields: isObject(r.data) ? Object.keys(r.data) : null,
    data: 'data' in r ? JSON.stringify(r.data) : '',
    errors: (Array.isArray(r.errors) ? r.errors : []).map((e: unknown) => {
      const error = isObject(e) ? e : {};
      const extensions = isObject(error.extensions) ? error.extensions : {};
      return { message: text(error.message) || 'no message', path: Array.isArray(error.path) ? error.path.join('.') : '', code: text(extensions.code) };
    }),
  }));
}
