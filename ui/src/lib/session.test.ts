import { expect, test } from 'vitest';
import { ownPath, signInAddress } from './session';

test.each([
  ['/?q=status:5xx&row=abc', '/?q=status:5xx&row=abc'],
  ['/ledger?from=1h', '/ledger?from=1h'],
  [undefined, '/'],
  ['', '/'],
  ['//evil.test/', '/'],
  ['/\\evil.test/', '/'],
  ['https://evil.test/', '/'],
  ['javascript:alert(1)', '/'],
  ['/sign-in?to=/', '/'],
])('%s leads to %s', (to, path) => {
  expect(ownPath(to)).toBe(path);
});

test('the address of the sign-in page holds the whole view', () => {
  expect(signInAddress('/')).toBe('/sign-in');
  const address = new URL(signInAddress('/?q=path:"/a b"&from=1h'), 'http://viewer.test');
  expect(address.searchParams.get('to')).toBe('/?q=path:"/a b"&from=1h');
});
