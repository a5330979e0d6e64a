import { expect, test } from 'vitest';

/**
 * S13: no way from a string to markup or to a script exists in the viewer's
 * own code, so that none can be reached by captured bytes. The policy that the
 * server sends (require-trusted-types-for) stops the rest at run time.
 */
const sources = import.meta.glob<string>(['./**/*.{ts,tsx,js}', '!./**/*.test.{ts,tsx}', '!./api/schema.d.ts'], { query: '?raw', import: 'default', eager: true });
const pages = import.meta.glob<string>(['../index.html', '../placeholder.html'], { query: '?raw', import: 'default', eager: true });

const sinks: readonly [string, RegExp][] = [
  ['markup from a string', /\b(?:inner|outer)HTML\b|insertAdjacentHTML|dangerouslySetInnerHTML|setHTMLUnsafe|parseHTMLUnsafe|createContextualFragment|DOMParser|\bsrcdoc\b|document\.write/i],
  ['code from a string', /\beval\s*\(|\bnew Function\b|\bimportScripts\b|set(?:Timeout|Interval)\s*\(\s*['"`]/],
  ['a document within the page', /<(?:iframe|object|embed|frame|base|script|style|foreignObject)[\s>]|createElement\(\s*['"](?:iframe|object|embed|script|style|base|link)['"]/i],
  ['a handler or a style as an attribute', /setAttribute(?:NS)?\(\s*['"](?:on|style|src|href)/i],
  ['an address that runs', /javascript:|createObjectURL|window\.open\b/i],
  ['a policy of trusted types, which would be a way around them', /trustedTypes/],
];

/** The one place that may make a trusted address; the test below says which address that is. */
const startsWorker = './lib/worker-policy.ts';

test.each(sinks)('no %s', (_, pattern) => {
  expect(Object.keys(sources).length).toBeGreaterThan(80);
  const found = Object.entries(sources).flatMap(([file, text]) =>
    text.split('\n').flatMap((line, i) => (file !== startsWorker && pattern.test(line.replace(/^\s*(?:\/\/|\*).*$/, '')) ? [`${file}:${i + 1}: ${line.trim()}`] : [])),
  );
  expect(found).toEqual([]);
});

test('the one policy trusts the one worker, whatever it is asked for', () => {
  const text = sources[startsWorker] ?? '';
  expect(text).toContain("import address from './body-worker?worker&url';");
  expect(text.match(/createPolicy\('[^']*', \{[^}]*\}\)/g)).toEqual(["createPolicy('weir-worker', { createScriptURL: () => address })"]);
  for (const [what, pattern] of sinks) if (!what.startsWith('a policy')) expect(text).not.toMatch(pattern);
});

test('pages have nothing inline', () => {
  expect(Object.keys(pages)).toHaveLength(2);
  for (const page of Object.values(pages)) {
    expect(page).not.toMatch(/<script(?![^>]*\ssrc=)[^>]*>|<style|\sstyle=|\son\w+=|javascript:|<base/i);
  }
});
