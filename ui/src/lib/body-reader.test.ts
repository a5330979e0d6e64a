import { describe, expect, test } from 'vitest';
import { BodyReader, readPair } from './body-reader';
import { TextLines } from './text-lines';

const open = (text: string, type = 'application/json', truncated = false) => new BodyReader(new TextEncoder().encode(text), type, truncated);

describe('U41 a body that is looked into', () => {
  test('what it is', () => {
    expect(open('{"a":1}').facts()).toEqual({ kind: 'json', isText: true, treeLines: 3, broken: null });
    expect(open('{"a":').facts()).toMatchObject({ kind: 'text', broken: 'Not valid JSON: expected a value, found the end at character 6.' });
    expect(open('{"a":', 'application/json', true).facts().broken).toBe('The JSON is cut off where the kept part ends.');
    expect(new BodyReader(new Uint8Array([8, 150, 1]), 'application/x-protobuf', false).facts()).toMatchObject({ kind: 'protobuf' });
    expect(new BodyReader(new Uint8Array([0, 1, 2]), '', false).facts()).toMatchObject({ kind: 'binary', isText: false });
  });

  test('lines know the query that finds their value', () => {
    const lines = open('{"user":{"first name":"Ada","n":-1},"items":[{"sku":"a"}]}').treeLines(0, 20);
    const fields = Object.fromEntries(lines.filter((l) => l.scalar !== null).map((l) => [l.path, `${l.field}=${l.scalar}`]));
    expect(fields).toEqual({
      '$.user["first name"]': 'json.user."first name"=Ada',
      '$.user.n': 'json.user.n=-1',
      '$.items[0].sku': 'json.items[*].sku=a',
    });
    expect(open('[1]').treeLines(1, 2)[0]?.field).toBe('json.[*]');
  });

  test('folds, finds, and opens what hides a hit', () => {
    const reader = open('{"a":{"b":{"c":"needle"}},"d":1}');
    const all = reader.facts().treeLines;
    expect(reader.fold(true)).toBeLessThan(all);
    expect(reader.findTree('NEEDLE')).toBe(1);
    const hit = reader.treeHit(0);
    expect(hit?.count).toBe(all);
    expect(reader.treeLines(hit?.row ?? -1, (hit?.row ?? -1) + 1)[0]?.key).toBe('"c"');
    expect(reader.treeHit(1)).toBeNull();
    expect(reader.value(hit?.node ?? -1)).toBe('needle');
  });
});

test('text of any size in rows of one height', () => {
  const lines = new TextLines(`one\r\n${'x'.repeat(1000)}\n\nlast`);
  expect(lines.count).toBe(6);
  expect(lines.rows(0, 10).map((r) => [r.number, r.text.length])).toEqual([[1, 3], [2, 400], [null, 400], [null, 200], [3, 0], [4, 4]]);
  expect(lines.find('LAST')).toBe(1);
  expect(lines.rowOf(0)).toBe(5);
  expect(lines.rowOf(1)).toBe(-1);
  expect(new TextLines('').rows(0, 5)).toEqual([{ number: 1, text: '' }]);
});

test('a very large body is left to be fetched by itself', () => {
  const body = 'x'.repeat(1_000_001);
  const pair = readPair(new TextEncoder().encode(JSON.stringify({ id: '1', request: { body: 'small', body_encoding: 'text' }, response: { body, body_encoding: 'text' } })));
  expect(pair.left_out).toEqual({ response: 1_000_001 });
  expect(pair.request?.body).toBe('small');
  expect(pair.response?.body).toBe('');
});
