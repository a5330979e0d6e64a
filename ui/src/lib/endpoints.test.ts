import { expect, test } from 'vitest';
import type { Endpoint } from '../api/types';
import { changeOf, endpointClauses, endpointKey, endpointSorts } from './endpoints';

const endpoint = (change: Partial<Endpoint> = {}): Endpoint => ({
  app: 'shop', host: 'shop:80', method: 'GET', endpoint: '/orders/{id}', pairs: 100, estimated: 100, errors: 0,
  p50_ns: 1e6, p95_ns: 2e6, p99_ns: 3e6, max_ns: 4e6, request_bytes: 0, response_bytes: 1000, first: null, last: null,
  classes: [0, 0, 100, 0, 0, 0] as unknown as Endpoint['classes'], ...change,
});

test('what is new, slower or failing next to the time before', () => {
  expect(changeOf(endpoint(), undefined)).toBe('new');
  expect(changeOf(endpoint(), endpoint())).toBeNull();
  expect(changeOf(endpoint({ p95_ns: 3e6 }), endpoint())).toBe('slower');
  expect(changeOf(endpoint({ p95_ns: 2.9e6 }), endpoint())).toBeNull();
  expect(changeOf(endpoint({ p95_ns: 9e6, pairs: 19 }), endpoint())).toBeNull();
  expect(changeOf(endpoint({ p95_ns: 9e6 }), endpoint({ pairs: 3 }))).toBeNull();
  expect(changeOf(endpoint({ errors: 5 }), endpoint())).toBe('failing');
  expect(changeOf(endpoint({ errors: 5 }), endpoint({ errors: 4 }))).toBeNull();
  expect(changeOf(endpoint({ errors: 1 }), endpoint())).toBeNull();
});

test('its exchanges, however it is written', () => {
  expect(endpointClauses(endpoint())).toEqual(['app:shop', 'host:"shop:80"', 'method:GET', 'endpoint:"/orders/{id}"']);
  expect(endpointClauses(endpoint({ app: '', host: '', method: '', endpoint: 'a "b"' }))).toEqual(['endpoint:"a \\"b\\""']);
  expect(endpointKey(endpoint())).not.toBe(endpointKey(endpoint({ host: 'shop:81' })));
});

test('sorting puts first what is most, and absent values last', () => {
  const list = [endpoint({ p95_ns: null }), endpoint({ p95_ns: 5 }), endpoint({ p95_ns: 9 })];
  expect(list.toSorted(endpointSorts.p95).map((e) => e.p95_ns)).toEqual([9, 5, null]);
  const errors = [endpoint({ errors: 5, pairs: 1000 }), endpoint({ errors: 5, pairs: 10 })];
  expect(errors.toSorted(endpointSorts.errors).map((e) => e.pairs)).toEqual([10, 1000]);
});
