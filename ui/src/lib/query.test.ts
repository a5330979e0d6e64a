import { describe, expect, test } from 'vitest';
import { addClause, builtinFields, clauses, complete, fieldOf, quoteKey, quoteValue, appOf, requestQuery, wordOf } from './query';

const offer = (text: string, caret = text.length) => complete(text, caret, builtinFields, { app: ['checkout', 'two words'] });

describe('completion', () => {
  test('names of fields at the beginning, behind a minus, inside parentheses', () => {
    for (const text of ['stat', '-stat', 'app:x stat', '(stat', 'app:x OR stat']) {
      expect(offer(text)[0]?.text).toBe(`${text.slice(0, -4)}status:`);
    }
  });

  test('a field that wants a key gets its dot', () => {
    expect(offer('request.h')[0]).toMatchObject({ label: 'request.header.', text: 'request.header.' });
    expect(fieldOf({ name: 'header.<name>', description: 'd', values: [] }).name).toBe('header.');
  });

  test('values after the colon, quoted where they must be', () => {
    expect(offer('app:').map((o) => o.text)).toEqual(['app:checkout ', 'app:"two words" ']);
    expect(offer('method:g').map((o) => o.label)).toEqual(['GET']);
  });

  test('the word under the caret is replaced, the rest stays', () => {
    expect(offer('sta app:x', 3)[0]).toMatchObject({ text: 'status: app:x', caret: 7 });
  });

  test('nothing inside quotes', () => {
    expect(offer('body:"sta')).toEqual([]);
  });
});

describe('clauses', () => {
  test.each<[string, string[] | null]>([
    ['', []],
    ['a b  -c:d', ['a', 'b', '-c:d']],
    ['body:"two words" x:(1 2)', ['body:"two words"', 'x:(1 2)']],
    ['a AND NOT b', ['a', 'NOT b']],
    ['a OR b', null],
    ['(a OR b) c', ['(a OR b)', 'c']],
    ['body:"say \\"OR\\" now"', ['body:"say \\"OR\\" now"']],
    ['"unclosed', null],
    ['(a', null],
    ['a)', null],
  ])('%s', (query, want) => expect(clauses(query)).toEqual(want));
});

test('a clause is added to what there is', () => {
  expect(addClause('', 'a:1')).toBe('a:1');
  expect(addClause('b:2', 'a:1')).toBe('b:2 a:1');
  expect(addClause('b:2 a:1', 'a:1')).toBe('b:2 a:1');
  expect(addClause('b:2 OR c:3', 'a:1')).toBe('(b:2 OR c:3) a:1');
});

test.each([
  ['checkout', 'checkout'],
  ['checkout-7c9', 'checkout-7c9'],
  ['', '""'],
  ['a b', '"a b"'],
  ['a*', '"a*"'],
  ['/users/', '"/users/"'],
  ['-x', '"-x"'],
  ['>5', '">5"'],
  ['1..5', '"1..5"'],
  ['or', '"or"'],
  ['say "hi" \\', '"say \\"hi\\" \\\\"'],
  ['a\r\n\u0001', '"a\\r\\n\\u0001"'],
])('%j is written %s', (value, want) => expect(quoteValue(value)).toBe(want));

test('keys', () => {
  expect(quoteKey('x-tenant')).toBe('x-tenant');
  expect(quoteKey('odd key')).toBe('"odd key"');
});

test.each<[string, string | undefined]>([
  ['app:checkout', 'checkout'],
  ['status:5xx app:"my shop"', 'my shop'],
  ['-app:checkout', undefined],
  ['app:check*', undefined],
  ['app:(a b)', undefined],
  ['app:a app:b', undefined],
  ['app:a OR status:500', undefined],
  ['path:/api/orders/42', undefined],
])('the app that %s asks for', (q, app) => {
  expect(appOf(q)).toBe(app);
});

test('a path, but no pattern', () => {
  expect(wordOf('method:GET path:/api/orders/42', 'path')).toBe('/api/orders/42');
  expect(wordOf('path:/api/*', 'path')).toBeUndefined();
  expect(wordOf('path:/users/', 'path')).toBeUndefined();
});

test.each<[string, string | undefined, string | undefined, string]>([
  ['/api/orders/42', undefined, undefined, 'path:"/api/orders/42"'],
  ['/api/orders/42?page=2', 'GET', 'checkout', 'path:"/api/orders/42" method:GET app:checkout'],
  ['/api/*', undefined, undefined, 'path:/api/*'],
  ['/users/', undefined, undefined, 'path:"/users/"'],
  ['http://shop:8080/cart?a=1#x', 'POST', undefined, 'host:"shop:8080" path:"/cart" method:POST'],
  ['https://shop', undefined, undefined, 'host:shop path:"/"'],
  ['/a" OR status:500', undefined, undefined, 'path:"/a\\" OR status:500"'],
])('the query for the request %s', (path, method, app, want) => {
  expect(requestQuery(path, method, app)).toBe(want);
});
