import { describe, expect, test } from 'vitest';
import { indentJson, JsonError, jsonPath, parseJson, visibleNodes } from './json';

const pretty = (text: string) => indentJson(parseJson(text));

describe('shows what is there, not what JSON.parse makes of it', () => {
  test.each([
    ['{"n":12345678901234567890}', '{\n  "n": 12345678901234567890\n}'],
    ['[1.0,1e2,-0]', '[\n  1.0,\n  1e2,\n  -0\n]'],
    ['{"a":1,"a":2}', '{\n  "a": 1,\n  "a": 2\n}'],
    ['{"__proto__":{"x":1}}', '{\n  "__proto__": {\n    "x": 1\n  }\n}'],
    ['{"10":1,"2":2}', '{\n  "10": 1,\n  "2": 2\n}'],
    ['"\\u0041\\/"', '"\\u0041\\/"'],
    [' { } ', '{}'],
    ['[[],{},null]', '[\n  [],\n  {},\n  null\n]'],
    ['[{},1]', '[\n  {},\n  1\n]'],
  ])('%s', (text, want) => {
    expect(pretty(text)).toBe(want);
    expect(JSON.parse(pretty(text))).toEqual(JSON.parse(text));
  });
});

test('refuses what JSON.parse refuses, with the place', () => {
  for (const text of ['', '{', '[1,]', '{"a":1,}', '{a:1}', '01', '1 2', '"\n"', 'tru', '[1 2]', '{"a" 1}', '"\\x"', '+1', '.5', '[', '}']) {
    expect(() => JSON.parse(text), text).toThrow();
    expect(() => parseJson(text), text).toThrow(JsonError);
  }
  const error = (() => {
    try {
      parseJson('{"a": nope}');
      return null;
    } catch (e) {
      return e as JsonError;
    }
  })();
  expect(error?.offset).toBe(6);
});

test('agrees with JSON.parse on random documents', () => {
  let seed = 7;
  const random = (n: number) => (seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff) % n;
  const value = (depth: number): unknown => {
    switch (random(depth > 4 ? 4 : 6)) {
      case 0:
        return random(1e6) / 8;
      case 1:
        return ['', 'a"b', '\u2028\\', '\u{1f600}', '\u0007'][random(5)];
      case 2:
        return random(2) === 0;
      case 3:
        return null;
      case 4:
        return Array.from({ length: random(4) }, () => value(depth + 1));
      default:
        return Object.fromEntries(Array.from({ length: random(4) }, (_, i) => [`k${i}`, value(depth + 1)]));
    }
  };
  for (let i = 0; i < 300; i++) {
    const v = value(0);
    expect(JSON.parse(pretty(JSON.stringify(v)))).toEqual(v);
  }
});

test('depth is no danger', () => {
  const deep = 200_000;
  expect(parseJson('['.repeat(deep) + ']'.repeat(deep))).toHaveLength(2 * deep);
});

describe('the tree', () => {
  const nodes = parseJson('{"items":[{"sku":"a b","odd key":1},2],"z":true}');
  const at = (key: string) => nodes.findIndex((n) => n.key === `"${key}"`);

  test('folding hides the inside and the end', () => {
    const all = visibleNodes(nodes, new Set());
    const folded = visibleNodes(nodes, new Set([at('items')]));
    expect(all).toHaveLength(nodes.length);
    expect(folded.map((i) => nodes[i]?.text)).toEqual(['{', '[', 'true', '}']);
  });

  test('paths', () => {
    expect(jsonPath(nodes, 0)).toBe('$');
    expect(jsonPath(nodes, at('sku'))).toBe('$.items[0].sku');
    expect(jsonPath(nodes, at('odd key'))).toBe('$.items[0]["odd key"]');
    expect(jsonPath(nodes, nodes.findIndex((n) => n.text === '2'))).toBe('$.items[1]');
  });

  test('counts', () => {
    expect(nodes[0]?.size).toBe(2);
    expect(nodes[at('items')]?.size).toBe(2);
  });
});
