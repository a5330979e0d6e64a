import { expect, test } from 'vitest';
import { reasons, statusClass } from './status';

test('every registered status has its name', () => {
  // RFC 9110 and the registry it set up, by class: how many there are.
  const counts = Object.keys(reasons).reduce<Record<string, number>>((n, code) => {
    const name = statusClass(Number(code));
    return { ...n, [name]: (n[name] ?? 0) + 1 };
  }, {});
  expect(counts).toEqual({ '1xx': 4, '2xx': 10, '3xx': 8, '4xx': 29, '5xx': 10 });
  expect([reasons[402], reasons[422], reasons[451], reasons[511]]).toEqual([
    'Payment Required', 'Unprocessable Content', 'Unavailable For Legal Reasons', 'Network Authentication Required',
  ]);
});
