import type { Message, Pair } from '../api/types';
import { receiptOf } from './receipts';

/** Ways to take a request along, beside the curl command that the analyzer writes. */
export const copyForms = ['fetch', 'go', 'python', 'json'] as const;
export type CopyForm = (typeof copyForms)[number];

interface Call {
  method: string;
  url: string;
  headers: [string, string][];
  message: Message;
}

/** What a client library sets by itself, and would be wrong as it was. */
const byItself = new Set(['content-length', 'transfer-encoding', 'connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'upgrade', 'host']);

function callOf(pair: Pair): Call | null {
  const message = pair.request;
  const [, method = '', target = ''] = /^(\S+) (\S+)/.exec(message?.start_line ?? '') ?? [];
  if (!message || !method) return null;
  const url = /^[a-z][a-z0-9+.-]*:\/\//i.test(target) ? target : `http://${pair.host || pair.server}${target.startsWith('/') ? target : '/'}`;
  return { method, url, headers: message.headers.filter(([name]) => !byItself.has(name.toLowerCase())), message };
}

/** How many values of the request are placeholders; 0 where all are as they were sent. */
export function placeholders(pair: Pick<Pair, 'redactions'>): number {
  return pair.redactions.map(receiptOf).filter((r) => r.kind === 'changed' && r.side !== 'response').reduce((n, r) => n + r.count, 0);
}

/** What must be known before a copy is run; empty where nothing must. */
export function copyNotes(pair: Pair): string[] {
  const notes: string[] = [];
  const n = placeholders(pair);
  if (n > 0) notes.push(`${n} redacted ${n === 1 ? 'value is a placeholder' : 'values are placeholders'} (REDACTED-…): put the real ${n === 1 ? 'one' : 'ones'} in.`);
  if (pair.request?.truncated) notes.push('The body is cut off where the kept part ends.');
  else if (pair.request && pair.request.body_size > 0 && pair.request.body === '') notes.push('The body was not kept.');
  return notes;
}

/** A string as JavaScript, Go and Python read it: what JSON writes, all of them take, but for a slash that needs none. */
const quote = (text: string) => JSON.stringify(text).replaceAll('\u007f', '\\u007f').replace(/[\u2028\u2029]/g, (c) => `\\u${c.charCodeAt(0).toString(16)}`);

export function copyAs(pair: Pair, form: CopyForm): string | null {
  if (form === 'json') return JSON.stringify(pair, null, 2);
  const call = callOf(pair);
  if (!call) return null;
  const notes = copyNotes(pair);
  return { fetch: asFetch, go: asGo, python: asPython }[form](call, notes);
}

function asFetch({ method, url, headers, message }: Call, notes: string[]): string {
  const body = message.body === '' ? [] : [message.body_encoding === 'base64' ? `  body: Uint8Array.from(atob(${quote(message.body)}), (c) => c.charCodeAt(0)),` : `  body: ${quote(message.body)},`];
  return [
    ...notes.map((n) => `// ${n}`),
    `const response = await fetch(${quote(url)}, {`,
    `  method: ${quote(method)},`,
    // Pairs keep a field that is there twice.
    ...(headers.length > 0 ? ['  headers: [', ...headers.map(([n, v]) => `    [${quote(n)}, ${quote(v)}],`), '  ],'] : []),
    ...body,
    '});',
    'console.log(response.status, await response.text());',
  ].join('\n');
}

function asGo({ method, url, headers, message }: Call, notes: string[]): string {
  const has = message.body !== '';
  const coded = has && message.body_encoding === 'base64';
  const imports = [...(coded ? ['encoding/base64'] : []), 'fmt', 'io', 'net/http', ...(has ? ['strings'] : [])];
  const reader = !has ? 'nil' : coded ? `base64.NewDecoder(base64.StdEncoding, strings.NewReader(${quote(message.body)}))` : `strings.NewReader(${quote(message.body)})`;
  return [
    'package main', '', 'import (', ...imports.map((i) => `\t"${i}"`), ')', '',
    ...notes.map((n) => `// ${n}`),
    'func main() {',
    `\treq, err := http.NewRequest(${quote(method)}, ${quote(url)}, ${reader})`,
    '\tif err != nil {', '\t\tpanic(err)', '\t}',
    ...headers.map(([n, v]) => `\treq.Header.Add(${quote(n)}, ${quote(v)})`),
    '\tresp, err := http.DefaultClient.Do(req)',
    '\tif err != nil {', '\t\tpanic(err)', '\t}',
    '\tdefer resp.Body.Close()',
    '\tbody, err := io.ReadAll(resp.Body)',
    '\tif err != nil {', '\t\tpanic(err)', '\t}',
    '\tfmt.Println(resp.Status)', '\tfmt.Println(string(body))',
    '}', '',
  ].join('\n');
}

function asPython({ method, url, headers, message }: Call, notes: string[]): string {
  const has = message.body !== '';
  const coded = has && message.body_encoding === 'base64';
  const { hostname, port, pathname, search, protocol } = new URL(url, 'http://localhost');
  const target = quote(url.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '') || pathname + search);
  return [
    ...notes.map((n) => `# ${n}`),
    ...(coded ? ['import base64'] : []),
    'import http.client', '',
    `connection = http.client.${protocol === 'https:' ? 'HTTPSConnection' : 'HTTPConnection'}(${quote(hostname)}${port ? `, ${port}` : ''})`,
    // Field by field, since a dictionary would lose one that is there twice.
    `connection.putrequest(${quote(method)}, ${target}, skip_accept_encoding=True)`,
    ...headers.map(([n, v]) => `connection.putheader(${quote(n)}, ${quote(v)})`),
    ...(has ? [`body = ${coded ? `base64.b64decode(${quote(message.body)})` : `${quote(message.body)}.encode()`}`, 'connection.putheader("Content-Length", str(len(body)))', 'connection.endheaders(body)'] : ['connection.endheaders()']),
    'response = connection.getresponse()',
    'print(response.status, response.reason)',
    'print(response.read().decode(errors="replace"))', '',
  ].join('\n');
}
