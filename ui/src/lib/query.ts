/**
 * What the viewer itself must know of the query language: where words begin
 * and end, to complete them, and which clauses could be dropped. What a query
 * means is the analyzer's to say; nothing here accepts or rejects one.
 */

export interface FieldInfo {
  /** As one writes it; one that ends in "." wants a key behind it. */
  name: string;
  means: string;
  values: readonly string[];
}

/** A field as the analyzer describes it: "header.<name>" is written "header." and a name. */
export function fieldOf(field: { name: string; description: string; values: readonly string[] }): FieldInfo {
  return { name: field.name.replace(/<.*$/, ''), means: field.description, values: field.values };
}

/** Names of the language's fields, until the analyzer has answered with its own list. */
export const builtinFields: readonly FieldInfo[] = [
  'status', 'method', 'path', 'app', 'duration', 'host', 'query', 'body', 'request.body', 'response.body',
  'header.', 'request.header.', 'response.header.', 'json.', 'flag', 'error', 'protocol', 'ttfb',
  'size.request', 'size.response', 'pod', 'namespace', 'cluster', 'direction', 'endpoint', 'client', 'server',
  'tag.', 'conn', 'seq', 'id',
].map((name) => ({ name, means: '', values: [] }));

/** Values worth offering where a field has no list of its own. */
const usualValues: Readonly<Record<string, readonly string[]>> = {
  status: ['2xx', '3xx', '4xx', '5xx', '>=400', '200', '404', '500', '503'],
  method: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'],
  protocol: ['http', 'http2', 'grpc', 'tls', 'postgres', 'mysql', 'redis', 'mongo', 'kafka', 'opaque'],
  duration: ['>100ms', '>500ms', '>1s', '>5s'],
  ttfb: ['>100ms', '>500ms', '>1s'],
  'size.request': ['>64KiB', '>1MiB'],
  'size.response': ['>64KiB', '>1MiB'],
  error: ['*'],
};

export interface Completion {
  /** What to show. */
  label: string;
  detail: string;
  /** The query and the caret after it was chosen. */
  text: string;
  caret: number;
}

/**
 * Completions at the caret: field names while a word has no colon, values of
 * the field after it. extraValues adds values that the page knows, by field.
 */
export function complete(
  query: string,
  caret: number,
  fields: readonly FieldInfo[],
  extraValues: Readonly<Record<string, readonly string[]>> = {},
): Completion[] {
  const { start, inQuotes } = wordBefore(query, caret);
  if (inQuotes) return [];
  const word = query.slice(start, caret);
  const rest = query.slice(caret).replace(/^[^\s()]*/, '');
  const head = query.slice(0, start);
  const colon = word.indexOf(':');
  const make = (label: string, detail: string, insert: string): Completion => {
    const text = head + insert + rest;
    return { label, detail, text, caret: head.length + insert.length };
  };
  if (colon === -1) {
    const prefix = word.toLowerCase();
    return fields
      .filter((f) => f.name.startsWith(prefix) && f.name !== prefix)
      .map((f) => make(f.name, f.means, f.name.endsWith('.') ? f.name : `${f.name}:`));
  }
  const field = word.slice(0, colon);
  const prefix = word.slice(colon + 1).toLowerCase();
  const known = fields.find((f) => f.name === field)?.values ?? [];
  const values = new Set([...(extraValues[field] ?? []), ...known, ...(usualValues[field] ?? [])]);
  return [...values]
    .filter((v) => v.toLowerCase().startsWith(prefix) && v.toLowerCase() !== prefix)
    .map((v) => make(v, '', `${field}:${quoteValue(v)}${rest === '' ? ' ' : ''}`));
}

const plainValue = /^[\p{L}\p{N}_][\p{L}\p{N}_@%+=~.-]*$/u;

/** A value as the language needs it written to mean exactly that: quoted unless it is plainly a word, or always. */
export function quoteValue(value: string, always = false): string {
  if (!always && plainValue.test(value) && !value.includes('..') && !/^(?:and|or|not)$/i.test(value)) return value;
  const escapes: Readonly<Record<string, string>> = { '"': '\\"', '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };
  // oxlint-disable-next-line no-control-regex -- control characters must be written as escapes
  return `"${value.replace(/["\\\u0000-\u001f\u007f]/g, (c) => escapes[c] ?? `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)}"`;
}

/** A key such as the name in header.<name>. */
export function quoteKey(key: string): string {
  return /^[\p{L}\p{N}_@$/.-]+$/u.test(key) ? key : quoteValue(key);
}

/** Where the word that ends at the caret begins; a leading "-" is not part of it. */
function wordBefore(query: string, caret: number): { start: number; inQuotes: boolean } {
  let inQuotes = false;
  let start = 0;
  for (let i = 0; i < caret; i++) {
    const c = query[i] as string;
    if (inQuotes) {
      if (c === '\\') i++;
      else if (c === '"') inQuotes = false;
    } else if (c === '"') inQuotes = true;
    else if (/[\s()]/.test(c)) start = i + 1;
  }
  if (query[start] === '-' && start < caret) start++;
  return { start, inQuotes };
}

/**
 * The top-level clauses of a query of the form "a b -c (d OR e)", as written.
 * Null where clauses are joined by OR at the top level or do not come apart
 * cleanly: then none of them can be dropped alone.
 */
export function clauses(query: string): string[] | null {
  const out: string[] = [];
  let depth = 0;
  let inQuotes = false;
  let word = '';
  const flush = () => {
    if (word !== '') out.push(word);
    word = '';
  };
  for (let i = 0; i < query.length; i++) {
    const c = query[i] as string;
    if (inQuotes) {
      word += c;
      if (c === '\\') word += query[++i] ?? '';
      else if (c === '"') inQuotes = false;
    } else if (c === '"') {
      inQuotes = true;
      word += c;
    } else if (/\s/.test(c) && depth === 0) flush();
    else {
      if (c === '(') depth++;
      if (c === ')') depth--;
      if (depth < 0) return null;
      word += c;
    }
  }
  flush();
  if (inQuotes || depth !== 0) return null;
  const joined: string[] = [];
  for (let i = 0; i < out.length; i++) {
    const w = out[i] as string;
    if (w === 'OR' || w === '|') return null;
    if (w === 'AND') continue;
    if (w === 'NOT' && out[i + 1] !== undefined) joined.push(`NOT ${out[++i]}`);
    else joined.push(w);
  }
  return joined;
}

/** Adds a clause to a query that may have an OR at its top level. */
export function addClause(query: string, clause: string): string {
  const q = query.trim();
  if (q === '') return clause;
  const parts = clauses(q);
  if (parts?.includes(clause)) return q;
  return parts ? `${q} ${clause}` : `(${q}) ${clause}`;
}

/**
 * The one value that a query asks for in a field, where it plainly does so:
 * "app:checkout" or app:"my shop" among its clauses. Patterns, comparisons and
 * alternatives are no values.
 */
export function wordOf(query: string, field: string): string | undefined {
  const found = (clauses(query) ?? []).flatMap((clause) => {
    if (!clause.startsWith(`${field}:`)) return [];
    const value = clause.slice(field.length + 1);
    const quoted = /^"([^"\\]+)"$/.exec(value)?.[1];
    // Between slashes stands a regular expression.
    if (/^\/.*\/$/.test(value)) return [];
    return quoted ?? /^\/?[\p{L}\p{N}_][\p{L}\p{N}_@%+=~./-]*$/u.exec(value)?.[0] ?? [];
  });
  return found.length === 1 ? found[0] : undefined;
}

/** The one application that a query asks for. */
export function appOf(query: string): string | undefined {
  return wordOf(query, 'app');
}

/**
 * The query for a request as people write it: a path, or a whole address, of
 * which host and path are taken. A path with a star is a pattern.
 */
export function requestQuery(path: string, method?: string, app?: string): string {
  const address = /^https?:\/\/([^/?#]+)([^?#]*)/i.exec(path);
  const plain = (address ? address[2] || '/' : path).replace(/[?#].*$/, '') || '/';
  return [
    ...(address ? [`host:${quoteValue(address[1] as string)}`] : []),
    `path:${/^[\w/.*~-]*\*[\w/.*~-]*$/.test(plain) ? plain : quoteValue(plain)}`,
    ...(method ? [`method:${quoteValue(method)}`] : []),
    ...(app ? [`app:${quoteValue(app)}`] : []),
  ].join(' ');
}
