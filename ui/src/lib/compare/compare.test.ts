import { describe, expect, test } from 'vitest';
import { align, type Step } from './align';
import { compareBodies } from './bodies';
import { compareHeaders } from './headers';
import { defaultIgnore, Ignored, parseIgnore } from './ignore';
import { collapse, countRows, type DiffRow } from './rows';
import { addMessage, compareShapes, emptyShape } from './shape';

const bytes = (text: string) => ({ bytes: new TextEncoder().encode(text), truncated: false });
const compare = (a: string, b: string, rules = '') => compareBodies(bytes(a), bytes(b), parseIgnore(rules).rules);
const differences = (rows: readonly DiffRow[]) => rows.filter((r) => r.op !== 'same' && r.op !== 'skip').map((r) => [r.op, r.left, r.right]);

/** What an alignment promises: every place once and in order, and what it calls common is equal. */
function check(a: readonly string[], b: readonly string[], steps: readonly Step[]): number {
  expect(steps.map(([i]) => i).filter((i) => i >= 0)).toEqual(a.map((_, i) => i));
  expect(steps.map(([, j]) => j).filter((j) => j >= 0)).toEqual(b.map((_, j) => j));
  const common = steps.filter(([i, j]) => i >= 0 && j >= 0);
  for (const [i, j] of common) expect(a[i]).toBe(b[j]);
  return common.length;
}

/** Length of the longest common subsequence, the slow and plain way. */
function lcs(a: readonly string[], b: readonly string[]): number {
  const rows = Array.from({ length: a.length + 1 }, () => Array.from({ length: b.length + 1 }, () => 0));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      (rows[i] as number[])[j] = a[i] === b[j] ? 1 + ((rows[i + 1] as number[])[j + 1] as number) : Math.max((rows[i + 1] as number[])[j] as number, (rows[i] as number[])[j + 1] as number);
    }
  }
  return (rows[0] as number[])[0] as number;
}

describe('align', () => {
  test('finds a longest common subsequence of any two sequences', () => {
    let seed = 7;
    const random = (n: number) => (seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648) % n;
    const word = () => Array.from({ length: random(14) }, () => 'abcd'[random(4)] as string);
    for (let round = 0; round < 500; round++) {
      const [a, b] = [word(), word()];
      expect(check(a, b, align(a, b))).toBe(lcs(a, b));
    }
  });

  test('gives up on the middle where nothing is common, and stays right', () => {
    const a = Array.from({ length: 4000 }, (_, i) => `a${i}`);
    const b = Array.from({ length: 4000 }, (_, i) => `b${i}`);
    expect(check(['x', ...a, 'y'], ['x', ...b, 'y'], align(['x', ...a, 'y'], ['x', ...b, 'y']))).toBe(2);
  });
});

describe('U47 JSON by structure', () => {
  test('the order of keys does not count; the order of items does', () => {
    expect(differences(compare('{"a":1,"b":[1,2]}', '{"b":[1,2],"a":1}').rows).filter(([op]) => op !== 'ignored')).toEqual([]);
    expect(compare('[1,2]', '[2,1]').counts).toMatchObject({ added: 1, removed: 1 });
  });

  test('an item that came in between does not make the others different', () => {
    const { form, rows } = compare('[{"id":1},{"id":2},{"id":3}]', '[{"id":1},{"id":9},{"id":2},{"id":3}]');
    expect(form).toBe('json');
    expect(differences(rows)).toEqual([['added', null, '{'], ['added', null, '"id": 9'], ['added', null, '}']]);
  });

  test('a change within an item is a change of the one member', () => {
    expect(differences(compare('{"items":[{"sku":"a","n":1}]}', '{"items":[{"sku":"a","n":2}]}').rows)).toEqual([['changed', '"n": 1', '"n": 2']]);
  });

  test('another kind of value is both removed and added', () => {
    expect(countRows(compare('{"a":{"b":1}}', '{"a":5}').rows)).toEqual({ added: 1, removed: 3, changed: 0, ignored: 0 });
  });

  test('numbers are compared as they were written, and deep nesting is no danger', () => {
    expect(differences(compare('{"n":12345678901234567890}', '{"n":12345678901234567891}').rows)).toHaveLength(1);
    const deep = '['.repeat(20_000) + ']'.repeat(20_000);
    expect(compare(deep, deep).counts).toEqual({ added: 0, removed: 0, changed: 0, ignored: 0 });
    expect(compare(deep, deep.replace('[]', '[1]')).counts.added).toBeGreaterThan(0);
  });

  test('rules pass over names, places and shapes, and say so', () => {
    const a = '{"at":"2026-11-24T03:00:00Z","exp":1795490090,"id":"5b0c1bb2-8a1c-4f0f-9d43-0a6f9b2d1c11","request_id":"x","user":{"seq":1},"n":1}';
    const b = '{"at":"2026-11-24T04:00:00Z","exp":1795490091,"id":"6b0c1bb2-8a1c-4f0f-9d43-0a6f9b2d1c12","request_id":"y","user":{"seq":2},"n":2}';
    const all = compare(a, b, `${defaultIgnore}\njson:$.user.seq`);
    expect(all.counts).toEqual({ added: 0, removed: 0, changed: 1, ignored: 5 });
    expect(compare(a, b).counts).toMatchObject({ changed: 6, ignored: 0 });
  });
});

test('U47 text by line, and bytes by place', () => {
  const text = compare('one\ntwo\nthree', 'one\n2\nthree\nfour');
  expect(text.form).toBe('text');
  expect(differences(text.rows)).toEqual([['changed', 'two', '2'], ['added', null, 'four']]);
  const hex = compareBodies({ bytes: new Uint8Array([0, 255, 1]), truncated: false }, { bytes: new Uint8Array([0, 255, 2]), truncated: false }, []);
  expect(hex.form).toBe('hex');
  expect(hex.counts.changed).toBe(1);
});

test('long runs without a difference are one row', () => {
  const lines = Array.from({ length: 1000 }, (_, i) => `line ${i}`);
  const { rows } = compare(lines.join('\n'), lines.with(500, 'other').join('\n'));
  expect(rows.length).toBe(9);
  expect(rows.filter((r) => r.op === 'skip').map((r) => r.skipped)).toEqual([497, 496]);
  expect(collapse([])).toEqual([]);
});

test('U47 headers by name, the second with the second', () => {
  const rules = new Ignored(parseIgnore('header:date\nheader:x-*-id').rules);
  const rows = compareHeaders(
    [['Date', 'a'], ['Set-Cookie', '1'], ['Set-Cookie', '2'], ['Gone', 'x'], ['X-Request-Id', 'q']],
    [['date', 'b'], ['set-cookie', '1'], ['set-cookie', '3'], ['New', 'y'], ['x-request-id', 'r']],
    rules,
  );
  expect(rows.map((r) => `${r.op} ${r.name}`)).toEqual(['ignored Date', 'same Set-Cookie', 'changed Set-Cookie', 'removed Gone', 'ignored X-Request-Id', 'added New']);
});

test('a line that is no rule is named', () => {
  expect(parseIgnore('header:date\nnonsense\nvalue:colour').mistakes).toEqual([
    'Line 2: “nonsense” is no rule. Write header:NAME, json:NAME, json:$.PATH or value:SHAPE.',
    'Line 3: unknown shape “colour”. There are uuid, time, trace.',
  ]);
  expect(parseIgnore(defaultIgnore).mistakes).toEqual([]);
});

test('U47 shapes of two samples', () => {
  const [left, right] = [emptyShape(), emptyShape()];
  for (let i = 0; i < 4; i++) {
    addMessage(left, [['A', '1']], '{"id":1,"items":[{"n":1}]}');
    addMessage(right, [['B', '1']], '{"id":"1","items":[{"n":1}]}');
  }
  expect(compareShapes(left, right).map((d) => [d.what, d.name, d.left.kinds, d.right.kinds])).toEqual([
    ['header', 'a', '', ''],
    ['header', 'b', '', ''],
    ['json', '$.id', 'number', 'string'],
  ]);
});
