import type { Edge } from '../api/types';

/** An edge of the picture: one of the answer, or several of addresses taken together, which have no common percentiles. */
export type Drawn = Pick<Edge, 'caller' | 'callee' | 'protocol' | 'pairs' | 'errors'> & { p95_ns?: number | null };

const address = /^[\d.]+$|^[\da-f]*:[\da-f:.]+$/i;
/** Whether a caller is known by its address alone. */
export const isAddress = (name: string): boolean => address.test(name);
/** So many callers without a name stand in the picture by themselves. */
const fewAddresses = 5;
/** More lines are no picture any more. */
const mostDrawn = 40;

/** What the picture shows of the edges: addresses together when they are many, then those with most traffic. */
export function drawn(edges: readonly Edge[]): { edges: Drawn[]; left: number } {
  const callees = new Set(edges.map((e) => e.callee));
  const addresses = new Set(edges.filter((e) => isAddress(e.caller) && !callees.has(e.caller)).map((e) => e.caller));
  let all: Drawn[] = [...edges];
  if (addresses.size > fewAddresses) {
    const name = `${addresses.size.toLocaleString('en')} addresses`;
    const together = new Map<string, Drawn>();
    all = [];
    for (const e of edges) {
      if (!addresses.has(e.caller)) {
        all.push(e);
        continue;
      }
      const key = `${e.callee}\n${e.protocol}`;
      const sum = together.get(key) ?? { caller: name, callee: e.callee, protocol: e.protocol, pairs: 0, errors: 0 };
      together.set(key, { ...sum, pairs: sum.pairs + e.pairs, errors: sum.errors + e.errors });
    }
    all.push(...together.values());
  }
  const most = all.toSorted((a, b) => b.pairs - a.pairs).slice(0, mostDrawn);
  return { edges: most, left: all.length - most.length };
}

/** Who calls whom, laid out in layers from left to right: callers before those that they call. */
export interface Graph {
  nodes: GraphNode[];
  edges: { edge: Drawn; from: GraphNode; to: GraphNode }[];
  width: number;
  height: number;
}
export interface GraphNode {
  name: string;
  /** The upper left corner. */
  x: number;
  y: number;
}

export const nodeWidth = 168;
export const nodeHeight = 30;
const gapX = 196;
const gapY = 28;
const margin = 16;
/** Rounds of putting nodes next to those that they talk to. */
const rounds = 4;

/** The same edges, in whatever order they come, give the same picture. */
export function layOut(edges: readonly Drawn[]): Graph {
  const sorted = edges.toSorted((a, b) => compare(a.caller, b.caller) || compare(a.callee, b.callee) || compare(a.protocol, b.protocol));
  const names = [...new Set(sorted.flatMap((e) => [e.caller, e.callee]))].toSorted(compare);
  const calls = new Map<string, string[]>(names.map((n) => [n, []]));
  const callers = new Map<string, string[]>(names.map((n) => [n, []]));
  for (const e of sorted) {
    if (e.caller === e.callee || calls.get(e.caller)?.includes(e.callee)) continue;
    calls.get(e.caller)?.push(e.callee);
    callers.get(e.callee)?.push(e.caller);
  }
  const layer = layers(names, calls, callers);
  const columns: string[][] = [];
  for (const n of names) (columns[layer.get(n) ?? 0] ??= []).push(n);

  // Each goes where its neighbours are on average; names decide between equals.
  const place = new Map<string, number>();
  const settle = (column: string[]) => column.forEach((n, i) => place.set(n, i - column.length / 2));
  columns.forEach(settle);
  for (let round = 0; round < rounds; round++) {
    const back = round % 2 === 1;
    for (const column of back ? columns.toReversed() : columns) {
      const wish = (n: string) => {
        const near = (back ? calls : callers).get(n) ?? [];
        return near.length === 0 ? (place.get(n) ?? 0) : near.reduce((sum, m) => sum + (place.get(m) ?? 0), 0) / near.length;
      };
      const wishes = new Map(column.map((n) => [n, wish(n)]));
      column.sort((a, b) => (wishes.get(a) ?? 0) - (wishes.get(b) ?? 0) || compare(a, b));
      settle(column);
    }
  }

  const most = Math.max(1, ...columns.map((c) => c.length));
  const height = 2 * margin + most * nodeHeight + (most - 1) * gapY;
  const at = new Map<string, GraphNode>();
  columns.forEach((column, i) => {
    const top = (height - column.length * nodeHeight - (column.length - 1) * gapY) / 2;
    column.forEach((name, j) => at.set(name, { name, x: margin + i * (nodeWidth + gapX), y: top + j * (nodeHeight + gapY) }));
  });
  return {
    nodes: names.flatMap((n) => at.get(n) ?? []),
    edges: sorted.flatMap((edge) => {
      const from = at.get(edge.caller);
      const to = at.get(edge.callee);
      return from && to ? [{ edge, from, to }] : [];
    }),
    width: 2 * margin + columns.length * nodeWidth + Math.max(0, columns.length - 1) * gapX,
    height,
  };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The longest way to each from those whom nobody calls; calls that lead back do not count. */
function layers(names: readonly string[], calls: ReadonlyMap<string, readonly string[]>, callers: ReadonlyMap<string, readonly string[]>): Map<string, number> {
  const order: string[] = [];
  const state = new Map<string, 'open' | 'done'>();
  const forward = new Map<string, string[]>();
  const visit = (start: string) => {
    // Without recursion: chains may be long.
    const stack: { name: string; next: number }[] = [{ name: start, next: 0 }];
    state.set(start, 'open');
    while (stack.length > 0) {
      const top = stack.at(-1);
      if (!top) break;
      const callee = calls.get(top.name)?.[top.next++];
      if (callee === undefined) {
        state.set(top.name, 'done');
        order.push(top.name);
        stack.pop();
        continue;
      }
      if (state.get(callee) === 'open') continue; // back to where it came from
      const list = forward.get(top.name);
      if (list) list.push(callee);
      else forward.set(top.name, [callee]);
      if (!state.has(callee)) {
        state.set(callee, 'open');
        stack.push({ name: callee, next: 0 });
      }
    }
  };
  for (const n of names) if (callers.get(n)?.length === 0 && !state.has(n)) visit(n);
  for (const n of names) if (!state.has(n)) visit(n);
  const layer = new Map<string, number>(names.map((n) => [n, 0]));
  for (const n of order.toReversed()) {
    for (const callee of forward.get(n) ?? []) layer.set(callee, Math.max(layer.get(callee) ?? 0, (layer.get(n) ?? 0) + 1));
  }
  return layer;
}
