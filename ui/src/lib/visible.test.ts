import { expect, test } from 'vitest';
import { hiddenPattern, visibleText } from './visible';

test.each([
  ['an override turns nothing round', 'photo_\u202egnp.exe', 'photo_‹202E›gnp.exe'],
  ['isolates', '\u2066a\u2069', '‹2066›a‹2069›'],
  ['zero width', 'ad\u200bmin\u200d\u2060\ufeff', 'ad‹200B›min‹200D›‹2060›‹FEFF›'],
  ['a letter without a shape', 'a\u3164b\u115f\uffa0\u2800', 'a‹3164›b‹115F›‹FFA0›‹2800›'],
  ['tags beyond the first plane', 'a\u{e0041}\u{e0100}', 'a‹E0041›‹E0100›'],
  ['half of a pair', 'a\ud83db', 'a‹D83D›b'],
  ['controls', '\u0000\u001b[31m\r\u0085', '‹0000›‹001B›[31m‹000D›‹0085›'],
  ['line and paragraph separators', 'a\u2028b\u2029', 'a‹2028›b‹2029›'],
])('%s', (_, text, shown) => {
  expect(visibleText(text)).toBe(shown);
  expect(visibleText(text)).not.toMatch(new RegExp(hiddenPattern.source, 'u'));
});

test.each(['plain', 'Straße, 東京, مرحبا, שלום', 'two\nlines\tand a tab', '☂\ufe0f 😀', '<b>&amp;</b>'])('leaves %s alone', (text) => {
  expect(visibleText(text)).toBe(text);
});
