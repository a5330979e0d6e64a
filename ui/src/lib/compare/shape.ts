import { JsonError, parseJson, type JsonNode } from '../json';

/** What a sample of messages is made of: how many of them have each thing. */
export interface Shape {
  messages: number;
  headers: Map<string, number>;
  /** "$.items[*].price" → kinds that were seen there, each with a count of messages. */
  paths: Map<string, Map<string, number>>;
}

export interface ShapeDifference {
  what: 'header' | 'json';
  name: string;
  /** Of how many of the sample, from 0 to 1, and as what kinds. */
  left: { share: number; kinds: string };
  right: { share: number; kinds: string };
}

const mostPaths = 2000;

export function emptyShape(): Shape {
  return { messages: 0, headers: new Map(), paths: new Map() };
}

function kindOf(n: JsonNode): string {
  return n.kind === 'literal' ? (n.text === 'null' ? 'null' : 'boolean') : n.kind;
}

/** Adds one message to a shape. */
export function addMessage(shape: Shape, headers: readonly (readonly [string, string])[], text: string | null): void {
  shape.messages++;
  for (const name of new Set(headers.map(([n]) => n.toLowerCase()))) shape.headers.set(name, (shape.headers.get(name) ?? 0) + 1);
  if (text === null || !/^\s*[[{]/.test(text)) return;
  let nodes: JsonNode[];
  try {
    nodes = parseJson(text);
  } catch (error) {
    if (error instanceof JsonError) return;
    throw error;
  }
  const paths: string[] = [];
  const seen = new Set<string>();
  nodes.forEach((n, i) => {
    if (n.kind === 'end') return;
    const parent = n.parent < 0 ? '' : (paths[n.parent] as string);
    const path = n.parent < 0 ? '$' : n.index === null ? `${parent}.${(n.key ?? '').slice(1, -1)}` : `${parent}[*]`;
    paths[i] = path;
    seen.add(`${path}\n${kindOf(n)}`);
  });
  for (const entry of seen) {
    const [path, kind] = entry.split('\n') as [string, string];
    const kinds = shape.paths.get(path);
    if (kinds) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    else if (shape.paths.size < mostPaths) shape.paths.set(path, new Map([[kind, 1]]));
  }
}

/** What one sample has, and the other has not, or as another kind, or much less often. */
export function compareShapes(left: Shape, right: Shape): ShapeDifference[] {
  const out: ShapeDifference[] = [];
  const add = (what: 'header' | 'json', name: string, l: number, r: number, lk = '', rk = '') => {
    const a = left.messages > 0 ? l / left.messages : 0;
    const b = right.messages > 0 ? r / right.messages : 0;
    // A sample is a sample: small shifts say nothing.
    if (Math.abs(a - b) < 0.3 && lk === rk) return;
    out.push({ what, name, left: { share: Math.min(1, a), kinds: lk }, right: { share: Math.min(1, b), kinds: rk } });
  };
  for (const name of new Set([...left.headers.keys(), ...right.headers.keys()])) add('header', name, left.headers.get(name) ?? 0, right.headers.get(name) ?? 0);
  const most = (kinds: Map<string, number> | undefined) => Math.max(0, ...(kinds?.values() ?? []));
  const words = (kinds: Map<string, number> | undefined) => [...(kinds?.keys() ?? [])].toSorted().join(', ');
  for (const path of new Set([...left.paths.keys(), ...right.paths.keys()])) {
    const l = left.paths.get(path);
    const r = right.paths.get(path);
    add('json', path, most(l), most(r), words(l), words(r));
  }
  return out.toSorted((x, y) => Math.abs(y.left.share - y.right.share) - Math.abs(x.left.share - x.right.share));
}
