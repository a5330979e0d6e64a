import { expect, test } from 'vitest';
import { indentXml } from './xml';

test('nests, and leaves short elements on one line', () => {
  expect(indentXml('<?xml version="1.0"?><a x="1"><b>text</b><c/><d><e></e></d><!-- note --></a>')).toBe(
    ['<?xml version="1.0"?>', '<a x="1">', '  <b>text</b>', '  <c/>', '  <d>', '    <e></e>', '  </d>', '  <!-- note -->', '</a>'].join('\n'),
  );
});

test('loses nothing of what it cannot follow', () => {
  for (const text of ['<a><b></a></b>', '< not xml', '<a', '</x></x></x>', '<![CDATA[<a>]]>', 'plain', '']) {
    expect(indentXml(text).replace(/\s/g, '')).toBe(text.replace(/\s/g, ''));
  }
});
