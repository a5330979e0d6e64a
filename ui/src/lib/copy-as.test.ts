import { describe, expect, test } from 'vitest';
import type { Pair } from '../api/types';
import { pair as summary } from '../feed/fake';
import { copyAs, copyNotes } from './copy-as';

const whole = (change: Partial<NonNullable<Pair['request']>> = {}, redactions: Pair['redactions'] = []): Pair => ({
  ...summary(1),
  host: 'shop.example:8080',
  request: {
    start_line: 'POST /cart?x=1 HTTP/1.1', headers: [['Host', 'shop.example:8080'], ['X-A', 'one'], ['X-A', 'it\'s "two"'], ['Content-Length', '4']], trailers: [],
    body: 'a\u2028"b', body_encoding: 'text', body_size: 6, body_hash: '', truncated: false, wire_size: 100, content_encoding: '', ...change,
  },
  timing: { accepted: null, connected: null, request_first: null, request_last: null, response_first: null, response_last: null },
  redactions,
  tags: {},
});

describe('U45', () => {
  test('fetch is JavaScript that asks for the same', () => {
    const code = copyAs(whole(), 'fetch') as string;
    expect(code).toContain('await fetch("http://shop.example:8080/cart?x=1", {');
    expect(code).toContain('["X-A", "one"],\n    ["X-A", "it\'s \\"two\\""],');
    expect(code).toContain('body: "a\\u2028\\"b",');
    expect(code).not.toMatch(/Content-Length|"Host"/);
  });
  test('Go and Python keep fields that are there twice', () => {
    const go = copyAs(whole(), 'go') as string;
    expect(go.match(/req\.Header\.Add\("X-A"/g)).toHaveLength(2);
    expect(go).toContain('"strings"');
    const python = copyAs(whole(), 'python') as string;
    expect(python).toContain('http.client.HTTPConnection("shop.example", 8080)');
    expect(python).toContain('connection.putrequest("POST", "/cart?x=1", skip_accept_encoding=True)');
    expect(python.match(/putheader\("X-A"/g)).toHaveLength(2);
  });
  test('a body that is no text goes as base64', () => {
    const binary = whole({ body: 'AP8=', body_encoding: 'base64' });
    expect(copyAs(binary, 'fetch')).toContain('atob("AP8=")');
    expect(copyAs(binary, 'go')).toContain('"encoding/base64"');
    expect(copyAs(binary, 'python')).toContain('base64.b64decode("AP8=")');
  });
  test('placeholders of redacted values are said to be that, first of all', () => {
    const redacted = whole({}, [{ rule: 'cards', location: 'request.body $.card', type: 'CARD', count: 2 }, { rule: 'cookies', location: 'response.cookie.sid', type: 'COOKIE', count: 1 }]);
    expect(copyNotes(redacted)).toEqual(['2 redacted values are placeholders (REDACTED-…): put the real ones in.']);
    expect(copyAs(redacted, 'python')?.split('\n')[0]).toBe('# 2 redacted values are placeholders (REDACTED-…): put the real ones in.');
    expect(copyAs(redacted, 'fetch')?.startsWith('// 2 redacted')).toBe(true);
  });
  test('what has no request is not copied', () => {
    const { request: _, ...none } = whole();
    expect(copyAs(none as Pair, 'fetch')).toBeNull();
  });
});
