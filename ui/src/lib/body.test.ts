import { describe, expect, test } from 'vitest';
import { base64Bytes, bodyKind, formFields, imageType, inlineBytes, mediaType, textOf } from './body';
import { visibleText } from './visible';

const utf8 = (text: string) => new TextEncoder().encode(text);

test('bytes that came with the pair', () => {
  expect(inlineBytes({ body: 'é', body_encoding: 'text' })).toEqual(utf8('é'));
  expect(inlineBytes({ body: '/wA=', body_encoding: 'base64' })).toEqual(Uint8Array.of(255, 0));
  expect(base64Bytes('')).toHaveLength(0);
});

test('text is text only where all of it is', () => {
  expect(textOf(utf8('grüße'), false)).toBe('grüße');
  expect(textOf(Uint8Array.of(0xff, 0xfe), false)).toBeNull();
  expect(textOf(utf8('a\0b'), false)).toBeNull();
  const cut = utf8('ab€').subarray(0, 4);
  expect(textOf(cut, false)).toBeNull();
  expect(textOf(cut, true)).toBe('ab');
});

describe('kinds', () => {
  const kind = (text: string, type = '') => bodyKind(utf8(text), text, type);
  test('by the header, and without one by the bytes', () => {
    expect(kind('{"a":1}', 'application/json')).toBe('json');
    expect(kind('{"a":1}', 'application/problem+json')).toBe('json');
    expect(kind('{"a":1}')).toBe('json');
    expect(kind('a=1', 'application/x-www-form-urlencoded')).toBe('form');
    expect(kind('<a/>', 'application/soap+xml')).toBe('xml');
    expect(kind('<!doctype html>', 'text/html')).toBe('xml');
    expect(kind('hello')).toBe('text');
    expect(bodyKind(Uint8Array.of(1, 255), null, 'text/plain')).toBe('binary');
    expect(bodyKind(new Uint8Array(), '', '')).toBe('empty');
  });

  test('a picture is what its bytes say, whatever the header claims', () => {
    expect(imageType(Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a))).toBe('image/png');
    expect(imageType(utf8('RIFF....WEBPVP8 '))).toBe('image/webp');
    expect(imageType(utf8('<svg onload=alert(1)>'))).toBeNull();
  });
});

test('header values', () => {
  expect(mediaType({ headers: [['CONTENT-type', 'Application/JSON; charset=utf-8']] })).toBe('application/json');
  expect(mediaType({ headers: [] })).toBe('');
});

test('forms keep order, repeats, and what cannot be decoded', () => {
  expect(formFields('a=1+2&a=%C3%A9&b&c=%zz&=x')).toEqual([
    ['a', '1 2'],
    ['a', 'é'],
    ['b', ''],
    ['c', '%zz'],
    ['', 'x'],
  ]);
});

test('text that hides or turns around is shown as its code', () => {
  expect(visibleText('a\u202egnp.exe\u200b\u0000')).toBe('a‹202E›gnp.exe‹200B›‹0000›');
  expect(visibleText('line\n\ttab é 漢')).toBe('line\n\ttab é 漢');
});
