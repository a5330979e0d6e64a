import { expect, test } from 'vitest';
import { Ring } from './ring';

test('keeps the newest, in order, and counts what it forgot', () => {
  const ring = new Ring<number>(3);
  expect(ring.drain()).toEqual([]);
  for (let i = 1; i <= 5; i++) ring.push(i);
  expect([ring.length, ring.lost]).toEqual([3, 2]);
  expect(ring.drain()).toEqual([3, 4, 5]);
  expect([ring.length, ring.lost]).toEqual([0, 0]);
  ring.push(6);
  expect(ring.drain()).toEqual([6]);
});

test('a ring without room is refused', () => {
  expect(() => new Ring(0)).toThrow(RangeError);
});
