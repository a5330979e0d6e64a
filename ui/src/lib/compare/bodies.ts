import { textOf } from '../body';
import { bytesPerLine, hexLine, hexLineCount } from '../hex';
import { JsonError, parseJson, type JsonNode } from '../json';
import { align } from './align';
import { Ignored, type IgnoreRule } from './ignore';
import { compareJson } from './json';
import { collapse, countRows, mostRows, type DiffCounts, type DiffRow } from './rows';

export interface ComparedBody {
  bytes: Uint8Array;
  truncated: boolean;
}

export interface BodyDifference {
  /** As what they were compared. */
  form: 'json' | 'text' | 'hex';
  counts: DiffCounts;
  /** With long runs of equal rows left out. */
  rows: DiffRow[];
  /** There are more rows than these. */
  cut: boolean;
}

function jsonOf(text: string): JsonNode[] | null {
  if (!/^\s*[[{]/.test(text)) return null;
  try {
    return parseJson(text);
  } catch (error) {
    if (error instanceof JsonError) return null;
    throw error;
  }
}

/** Lines, aligned; what differs only in ignored values is said to. */
function compareText(left: string, right: string, rules: Ignored): DiffRow[] {
  const a = left.split(/\r?\n/);
  const b = right.split(/\r?\n/);
  const rows: DiffRow[] = [];
  let removed: string[] = [];
  let added: string[] = [];
  const flush = () => {
    for (let i = 0; i < Math.max(removed.length, added.length); i++) {
      const l = removed[i] ?? null;
      const r = added[i] ?? null;
      rows.push({ op: l === null ? 'added' : r === null ? 'removed' : 'changed', depth: 0, left: l, right: r });
    }
    removed = [];
    added = [];
  };
  for (const [i, j] of align(a.map((line) => rules.plain(line)), b.map((line) => rules.plain(line)))) {
    if (j < 0) removed.push(a[i] as string);
    else if (i < 0) added.push(b[j] as string);
    else {
      flush();
      rows.push({ op: a[i] === b[j] ? 'same' : 'ignored', depth: 0, left: a[i] as string, right: b[j] as string });
    }
  }
  flush();
  return rows;
}

/** Bytes by their offsets: in binary formats those mean something. */
function compareHex(left: Uint8Array, right: Uint8Array): DiffRow[] {
  const rows: DiffRow[] = [];
  const line = (bytes: Uint8Array, i: number) => {
    if (i * bytesPerLine >= bytes.length) return null;
    const l = hexLine(bytes, i);
    return `${l.offset}  ${l.hex.padEnd(48)}  ${l.ascii}`;
  };
  for (let i = 0; i < Math.max(hexLineCount(left.length), hexLineCount(right.length)); i++) {
    const l = line(left, i);
    const r = line(right, i);
    rows.push({ op: l === r ? 'same' : l === null ? 'added' : r === null ? 'removed' : 'changed', depth: 0, left: l, right: r });
  }
  return rows;
}

/** Two bodies: by structure where both are JSON, by line where both are text, by byte otherwise. */
export function compareBodies(a: ComparedBody, b: ComparedBody, rules: readonly IgnoreRule[]): BodyDifference {
  const ignored = new Ignored(rules);
  const left = textOf(a.bytes, a.truncated);
  const right = textOf(b.bytes, b.truncated);
  let form: BodyDifference['form'] = 'hex';
  let all: DiffRow[];
  if (left === null || right === null) all = compareHex(a.bytes, b.bytes);
  else {
    const x = jsonOf(left);
    const y = x && jsonOf(right);
    form = x && y ? 'json' : 'text';
    all = x && y ? compareJson(x, y, ignored) : compareText(left, right, ignored);
  }
  const rows = collapse(all);
  return { form, counts: countRows(all), rows: rows.slice(0, mostRows), cut: rows.length > mostRows };
}
