import { jsonPath, type JsonNode } from '../json';
import { align } from './align';
import type { Ignored } from './ignore';
import type { DiffRow } from './rows';

/** A value deeper than this is compared as a whole. */
const deepest = 300;
/** A row shows this much of a value. */
const longest = 400;

interface Side {
  nodes: readonly JsonNode[];
  /** What a node is made of, as a number: equal for equal values, whatever the order of their keys. */
  hash: Float64Array;
  ignored: Uint8Array;
}

function hashText(text: string, seed: number): number {
  // Two 32-bit FNV-1a lanes, joined to 53 bits.
  let high = 0x811c9dc5 ^ seed;
  let low = 0x01000193 ^ seed;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    high = Math.imul(high ^ c, 0x01000193);
    low = Math.imul(low ^ (c + i), 0x85ebca6b);
  }
  return (high >>> 0) * 0x200000 + ((low >>> 0) & 0x1fffff);
}

function nameOf(node: JsonNode): string | null {
  return node.key === null ? null : node.key.slice(1, -1);
}

function makeSide(nodes: readonly JsonNode[], rules: Ignored): Side {
  const hash = new Float64Array(nodes.length);
  const ignored = new Uint8Array(nodes.length);
  // Members come after what they are in, so backwards every member is ready before its holder.
  const sums = new Float64Array(nodes.length);
  for (let i = nodes.length - 1; i >= 0; i--) {
    const n = nodes[i] as JsonNode;
    if (n.kind === 'end') continue;
    if (rules.json(nameOf(n), () => jsonPath(nodes, i))) ignored[i] = 1;
    let own: number;
    if (ignored[i]) own = hashText('ignored', 1);
    else if (n.end < 0) own = hashText(n.kind === 'literal' ? n.text : rules.plain(n.text), 2);
    else own = hashText(`${n.kind} ${n.size} ${sums[i]}`, 3);
    hash[i] = own;
    if (n.parent < 0) continue;
    const place = n.key ?? `#${n.index}`;
    // A sum does not mind the order of keys; the place of an item is part of what is summed.
    sums[n.parent] = ((sums[n.parent] as number) + hashText(`${place} ${own}`, 4)) % Number.MAX_SAFE_INTEGER;
  }
  return { nodes, hash, ignored };
}

function members(nodes: readonly JsonNode[], holder: number): number[] {
  const out: number[] = [];
  const { end } = nodes[holder] as JsonNode;
  for (let i = holder + 1; i < end; ) {
    out.push(i);
    const n = nodes[i] as JsonNode;
    i = n.end >= 0 ? n.end + 1 : i + 1;
  }
  return out;
}

function shown(node: JsonNode): string {
  const key = node.key === null ? '' : `${node.key}: `;
  return key + (node.text.length > longest ? `${node.text.slice(0, longest)} …` : node.text);
}

/** Two documents, member by member; items of arrays by their longest common subsequence. */
export function compareJson(left: readonly JsonNode[], right: readonly JsonNode[], rules: Ignored): DiffRow[] {
  const a = makeSide(left, rules);
  const b = makeSide(right, rules);
  const rows: DiffRow[] = [];

  const whole = (side: Side, node: number, op: 'added' | 'removed') => {
    const n = side.nodes[node] as JsonNode;
    const end = n.end >= 0 ? n.end : node;
    for (let i = node; i <= end; i++) {
      const x = side.nodes[i] as JsonNode;
      const text = shown(x);
      rows.push({ op, depth: x.depth, left: op === 'removed' ? text : null, right: op === 'added' ? text : null });
    }
  };
  const same = (i: number, j: number) => {
    const n = a.nodes[i] as JsonNode;
    const m = b.nodes[j] as JsonNode;
    if (n.end < 0 || m.end < 0 || a.ignored[i]) {
      const different = n.text !== m.text || n.end < 0 !== m.end < 0;
      rows.push({ op: a.ignored[i] || different ? 'ignored' : 'same', depth: n.depth, left: shown(n), right: shown(m) });
      return;
    }
    // Equal, but perhaps for what is ignored in it and for the order of its keys.
    if (n.end - i !== m.end - j) {
      pairUp(i, j);
      return;
    }
    for (let k = 0; k <= n.end - i; k++) {
      const x = a.nodes[i + k] as JsonNode;
      const y = b.nodes[j + k] as JsonNode;
      const equal = x.text === y.text && x.key === y.key;
      rows.push({ op: equal ? 'same' : 'ignored', depth: x.depth, left: shown(x), right: shown(y) });
    }
  };
  /** Both are of one kind and different: the difference is somewhere within. */
  const pairUp = (i: number, j: number) => {
    const n = a.nodes[i] as JsonNode;
    const m = b.nodes[j] as JsonNode;
    rows.push({ op: 'same', depth: n.depth, left: shown(n), right: shown(m) });
    if (n.kind === 'object') compareObjects(i, j);
    else compareArrays(i, j);
    rows.push({ op: 'same', depth: n.depth, left: (a.nodes[n.end] as JsonNode).text, right: (b.nodes[m.end] as JsonNode).text });
  };
  const compare = (i: number, j: number) => {
    if (a.hash[i] === b.hash[j]) {
      same(i, j);
      return;
    }
    const n = a.nodes[i] as JsonNode;
    const m = b.nodes[j] as JsonNode;
    if (n.end >= 0 && n.kind === m.kind && n.depth < deepest) pairUp(i, j);
    else if (n.end < 0 && m.end < 0) rows.push({ op: 'changed', depth: n.depth, left: shown(n), right: shown(m) });
    else {
      whole(a, i, 'removed');
      whole(b, j, 'added');
    }
  };
  const compareObjects = (i: number, j: number) => {
    const others = new Map<string, number[]>();
    for (const node of members(b.nodes, j)) {
      const key = (b.nodes[node] as JsonNode).key ?? '';
      // A key may be there twice; each has its own partner.
      others.set(key, [...(others.get(key) ?? []), node]);
    }
    for (const node of members(a.nodes, i)) {
      const partner = others.get((a.nodes[node] as JsonNode).key ?? '')?.shift();
      if (partner === undefined) whole(a, node, 'removed');
      else compare(node, partner);
    }
    for (const rest of others.values()) for (const node of rest) whole(b, node, 'added');
  };
  const compareArrays = (i: number, j: number) => {
    const as = members(a.nodes, i);
    const bs = members(b.nodes, j);
    const steps = align(as.map((n) => a.hash[n] as number), bs.map((n) => b.hash[n] as number));
    // Between what is common, items stand for each other in their order.
    let removed: number[] = [];
    let added: number[] = [];
    const flush = () => {
      const both = Math.min(removed.length, added.length);
      for (let k = 0; k < both; k++) compare(removed[k] as number, added[k] as number);
      for (const node of removed.slice(both)) whole(a, node, 'removed');
      for (const node of added.slice(both)) whole(b, node, 'added');
      removed = [];
      added = [];
    };
    for (const [x, y] of steps) {
      if (y < 0) removed.push(as[x] as number);
      else if (x < 0) added.push(bs[y] as number);
      else {
        flush();
        compare(as[x] as number, bs[y] as number);
      }
    }
    flush();
  };

  compare(0, 0);
  return rows;
}
