import { expect, test } from 'vitest';
import { hexDump, hexLine, hexLineCount } from './hex';

test('sixteen bytes a line, in two groups, with what is text beside them', () => {
  const bytes = new TextEncoder().encode('GET / HTTP/1.1\r\nHost');
  expect(hexLineCount(bytes.length)).toBe(2);
  expect(hexLine(bytes, 0)).toEqual({
    offset: '00000000',
    hex: '47 45 54 20 2f 20 48 54  54 50 2f 31 2e 31 0d 0a',
    ascii: 'GET / HTTP/1.1..',
  });
  expect(hexLine(bytes, 1)).toEqual({ offset: '00000010', hex: '48 6f 73 74', ascii: 'Host' });
});

test('bytes that are not ASCII are dots, none is left out', () => {
  const all = Uint8Array.from({ length: 256 }, (_, i) => i);
  const text = hexDump(all);
  expect(text.split('\n')).toHaveLength(16);
  expect(text).toContain('000000f0  f0 f1 f2 f3 f4 f5 f6 f7  f8 f9 fa fb fc fd fe ff  ................');
  expect(hexLineCount(0)).toBe(0);
});
