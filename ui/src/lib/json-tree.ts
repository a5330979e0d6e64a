import { quoteValue } from './query';
import { indentJson, jsonPath, visibleNodes, type JsonKind, type JsonNode } from './json';

/** A line shows this much of a string; copying takes all of it. */
const longest = 2000;
/** Hits beyond this are counted as "more": nobody steps through them one by one. */
export const mostHits = 100_000;

/** One line of a tree, ready to be drawn: what a view may ask a worker for. */
export interface TreeLine {
  node: number;
  depth: number;
  kind: JsonKind;
  key: string | null;
  text: string;
  /** It has members that can be folded away. */
  holds: boolean;
  folded: boolean;
  size: number;
  /** The bracket that closes it on the same line; empty where that is a line of its own. */
  closing: string;
  comma: boolean;
  path: string;
  /** What the query language calls this place; empty where it has no name there. */
  field: string;
  /** The whole value of a short scalar, as a query compares it; null for everything else. */
  scalar: string | null;
}

/** The string that a JSON string stands for. */
function decodeString(literal: string): string {
  try {
    return JSON.parse(literal) as string;
  } catch {
    return literal;
  }
}

/** What a node stands for, as JSON text; a string as itself. */
export function nodeText(nodes: readonly JsonNode[], node: number): string {
  const n = nodes[node] as JsonNode;
  if (n.end < 0) return n.kind === 'string' ? decodeString(n.text) : n.text;
  const inner = nodes.slice(node, n.end + 1);
  const text = indentJson(inner.map((x, i) => ({ ...x, depth: x.depth - n.depth, end: x.end < 0 ? -1 : x.end - node, key: i === 0 ? null : x.key, comma: i === inner.length - 1 ? false : x.comma })));
  return n.size === 0 ? text.replace(/,$/, '') : text;
}

/** The path as the query language writes it; a place in an array is any place there. Empty at the top. */
function fieldOf(nodes: readonly JsonNode[], node: number): string {
  const steps: string[] = [];
  for (let at = node; at >= 0; at = (nodes[at] as JsonNode).parent) {
    const { key, index } = nodes[at] as JsonNode;
    if (index !== null) steps.push('.[*]');
    else if (key !== null) {
      const name = decodeString(key);
      steps.push(`.${/^[\p{L}_][\p{L}\p{N}_]*$/u.test(name) ? name : quoteValue(name, true)}`);
    }
  }
  // In the middle of a path the brackets follow the name directly.
  return steps.length === 0 ? '' : `json${steps.toReversed().join('').replaceAll(/(?<=.)\.\[\*\]/g, '[*]').replace(/^\[\*\]/, '.[*]')}`;
}

/** A JSON document as lines to fold and to search. Knows nothing of how it is drawn, or on which thread. */
export class JsonTreeModel {
  readonly #nodes: readonly JsonNode[];
  readonly #folded = new Set<number>();
  #visible: number[];
  #hits: number[] = [];

  constructor(nodes: readonly JsonNode[]) {
    this.#nodes = nodes;
    this.#visible = visibleNodes(nodes, this.#folded);
  }

  get count(): number {
    return this.#visible.length;
  }

  /** Lines in sight, last excluded. */
  lines(first: number, last: number): TreeLine[] {
    return this.#visible.slice(first, last).map((node) => this.#line(node));
  }

  #line(node: number): TreeLine {
    const n = this.#nodes[node] as JsonNode;
    const holds = n.end > node + 1;
    const folded = this.#folded.has(node);
    const closing = n.end >= 0 && (folded || !holds) ? (this.#nodes[n.end] as JsonNode) : undefined;
    const leaf = n.kind === 'string' || n.kind === 'number' || n.kind === 'literal';
    return {
      node,
      depth: n.depth,
      kind: n.kind,
      key: n.key,
      text: n.text.length > longest ? `${n.text.slice(0, longest)} …` : n.text,
      holds,
      folded,
      size: n.size,
      closing: closing?.text ?? '',
      comma: closing ? closing.comma : n.comma,
      path: n.kind === 'end' ? '' : jsonPath(this.#nodes, node),
      field: leaf ? fieldOf(this.#nodes, node) : '',
      scalar: leaf && n.text.length <= longest ? (n.kind === 'string' ? decodeString(n.text) : n.text) : null,
    };
  }

  /** Folds or unfolds, and returns the number of lines that there are then. */
  toggle(node: number): number {
    if (!this.#folded.delete(node)) this.#folded.add(node);
    return this.#show();
  }

  /** The first level stays open, so that there is something to see. */
  foldAll(): number {
    this.#nodes.forEach((n, i) => {
      if (n.end > i + 1 && n.depth > 0) this.#folded.add(i);
    });
    return this.#show();
  }

  unfoldAll(): number {
    this.#folded.clear();
    return this.#show();
  }

  #show(): number {
    this.#visible = visibleNodes(this.#nodes, this.#folded);
    return this.#visible.length;
  }

  /** How many nodes have this in their key or value, in any case; at most mostHits. */
  find(needle: string): number {
    const wanted = needle.toLowerCase();
    this.#hits = [];
    if (wanted === '') return 0;
    for (let i = 0; i < this.#nodes.length && this.#hits.length < mostHits; i++) {
      const n = this.#nodes[i] as JsonNode;
      if (n.kind === 'end') continue;
      if (n.key?.toLowerCase().includes(wanted) || (n.end < 0 && n.text.toLowerCase().includes(wanted))) this.#hits.push(i);
    }
    return this.#hits.length;
  }

  /** Opens what the hit is in. Returns its node, its row, and the number of lines then; null without hits. */
  goTo(hit: number): { node: number; row: number; count: number } | null {
    const node = this.#hits[hit];
    if (node === undefined) return null;
    for (let p = (this.#nodes[node] as JsonNode).parent; p >= 0; p = (this.#nodes[p] as JsonNode).parent) this.#folded.delete(p);
    const count = this.#show();
    return { node, row: this.#visible.indexOf(node), count };
  }

  value(node: number): string {
    return nodeText(this.#nodes, node);
  }

  text(): string {
    return indentJson(this.#nodes);
  }
}
