import { expect, test } from 'vitest';
import type { Edge } from '../api/types';
import { layOut } from './graph';

const edge = (caller: string, callee: string): Edge => ({ caller, callee, protocol: 'http', pairs: 1, estimated: 1, errors: 0, p50_ns: 1, p95_ns: 1, last: null });
const columnsOf = (edges: Edge[]) => Object.fromEntries(layOut(edges).nodes.map((n) => [n.name, n.x]));

test('callers stand before those that they call', () => {
  const x = columnsOf([edge('web', 'cart'), edge('cart', 'db'), edge('web', 'db'), edge('10.0.0.9', 'web')]);
  expect(x['10.0.0.9']).toBeLessThan(x['web'] as number);
  expect(x['web']).toBeLessThan(x['cart'] as number);
  expect(x['cart']).toBeLessThan(x['db'] as number);
});

test('the same picture, in whatever order edges come; circles and calls of oneself end', () => {
  const edges = [edge('a', 'b'), edge('b', 'c'), edge('c', 'a'), edge('c', 'c'), edge('d', 'b')];
  const one = layOut(edges);
  expect(layOut(edges.toReversed())).toEqual(one);
  expect(one.nodes.map((n) => n.name)).toEqual(['a', 'b', 'c', 'd']);
  expect(one.edges.length).toBe(5);
});

test('no two stand in the same place, and all are within the picture', () => {
  const edges = Array.from({ length: 60 }, (_, i) => edge(`app-${i % 50}`, `app-${(i * 7 + 3) % 50}`));
  const graph = layOut(edges);
  expect(new Set(graph.nodes.map((n) => `${n.x} ${n.y}`)).size).toBe(graph.nodes.length);
  for (const n of graph.nodes) {
    expect(n.x + 168).toBeLessThanOrEqual(graph.width);
    expect(n.y + 30).toBeLessThanOrEqual(graph.height);
    expect(n.y).toBeGreaterThanOrEqual(0);
  }
});

test('a chain of thousands is no trouble, and nothing is nothing', () => {
  const chain = Array.from({ length: 3000 }, (_, i) => edge(String(i).padStart(5, '0'), String(i + 1).padStart(5, '0')));
  expect(layOut(chain).nodes.length).toBe(3001);
  expect(layOut([])).toEqual({ nodes: [], edges: [], width: 32 , height: 62 });
});
