import { expect, test } from 'vitest';
import { receiptOf, withheldBecause } from './receipts';

test('a receipt says side, place, type and rule', () => {
  expect(receiptOf({ rule: 'passwords', location: 'request.body $.user.password', type: 'PASSWORD', count: 2 })).toMatchObject({
    kind: 'changed', side: 'request', place: 'body $.user.password', type: 'PASSWORD', rule: 'passwords', count: 2,
  });
});

test('what was withheld has its reason, also one that a newer forwarder has', () => {
  const receipt = (type: string) => receiptOf({ rule: 'withheld', location: 'response.body', type, count: 1 });
  expect(receipt('unknown_type')).toMatchObject({ kind: 'withheld', side: 'response', place: 'body', type: '' });
  expect(receipt('unknown_type').means).toContain('undecodable');
  expect(receipt('moon_phase').means).toBe('withheld: moon phase');
});

test('a rule in shadow changed nothing', () => {
  expect(receiptOf({ rule: 'mails', location: 'path', type: 'shadow:EMAIL', count: 1 })).toMatchObject({ kind: 'shadow', side: '', place: 'path', type: 'EMAIL' });
});

test('the receipt that stands for the rest has no place', () => {
  expect(receiptOf({ rule: '(more)', location: '(more)', type: '(more)', count: 9 })).toMatchObject({ kind: 'more', place: '', type: '', count: 9 });
});

test('a body says why it is not there, by its side', () => {
  const pair = { redactions: [{ rule: 'withheld', location: 'request.body', type: 'budget', count: 1 }] };
  expect(withheldBecause(pair, 'request')).toContain('more work');
  expect(withheldBecause(pair, 'response')).toBe('');
});
