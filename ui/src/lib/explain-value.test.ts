import { describe, expect, test } from 'vitest';
import { explainValue } from './explain-value';
import { protobufText, readProtobuf } from './protobuf';

const now = Date.parse('2026-11-24T03:00:00Z');
const part = (o: object) => btoa(JSON.stringify(o)).replaceAll('=', '').replaceAll('+', '-').replaceAll('/', '_');
const rows = (name: string, value: string) => Object.fromEntries(explainValue(name, value, now)?.rows ?? []);

describe('U49', () => {
  test('a JWT: its claims, its times, and that nobody checked it', () => {
    const token = `Bearer ${part({ alg: 'HS256' })}.${part({ sub: 'ada', exp: 1_700_000_000 })}.c2ln`;
    const found = explainValue('authorization', token, now);
    expect(found?.title).toBe('JWT');
    expect(rows('authorization', token)).toMatchObject({ 'header alg': 'HS256', sub: 'ada', exp: '1700000000 = 2023-11-14 22:13:20.000 UTC' });
    expect(found?.note).toMatch(/^It expired .* The signature was not checked\.$/);
  });
  test('cookies, and what a cookie lacks', () => {
    expect(rows('cookie', 'a=1; b=x=y; flag')).toEqual({ a: '1', b: 'x=y', flag: 'yes' });
    expect(explainValue('set-cookie', 'sid=1; HttpOnly', now)?.note).toBe('Without Secure, SameSite.');
  });
  test.each([
    ['1795489200', '2026-11-24 03:00:00.000'],
    ['1795489200123', '2026-11-24 03:00:00.123'],
    ['2026-11-24T04:00:00+01:00', '2026-11-24 03:00:00.000'],
    ['Tue, 24 Nov 2026 03:00:00 GMT', '2026-11-24 03:00:00.000'],
  ])('a time: %s', (value, utc) => {
    expect(rows('x', value)).toMatchObject({ UTC: utc });
  });
  test('base64 of text, of credentials, of protobuf', () => {
    expect(rows('x', btoa('{"step":3,"from":"cart"}'))).toEqual({ text: '{"step":3,"from":"cart"}' });
    expect(rows('authorization', `Basic ${btoa('ada:pa:ss')}`)).toEqual({ user: 'ada', password: 'pa:ss' });
    expect(explainValue('x', btoa('\x08\x96\x01\x12\x07testing\x1d\x00\x00\x80\x3f'), now)?.title).toBe('protobuf');
  });
  test.each(['', 'gzip, br', 'application/json', 'deadbeefdeadbeefdeadbeefdeadbeef', '42', 'keep-alive', 'Bearer REDACTED-AUTH-5a7b73kc6qmt', 'eyJhbGciOiJub25lIn0.x', '99999999999'])('nothing to explain in %j', (value) => {
    expect(explainValue('x', value, now)).toBeNull();
  });
});

test('protobuf without its description', () => {
  const message = new Uint8Array([0x08, 0x96, 0x01, 0x12, 0x07, ...new TextEncoder().encode('testing'), 0x1a, 0x03, 0x08, 0x96, 0x01, 0x2d, 0, 0, 0x80, 0x3f]);
  expect(protobufText(readProtobuf(message) ?? [])).toBe('1: 150  # varint\n2: "testing"  # text\n3 {\n  1: 150  # varint\n}\n5: 1065353216 (or 1)  # fixed32');
  for (let cut = 1; cut < message.length; cut++) expect(() => readProtobuf(message.subarray(0, cut))).not.toThrow();
  expect(readProtobuf(new Uint8Array([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]))).toBeNull();
  expect(readProtobuf(new Uint8Array())).toBeNull();
});
