import { describe, expect, test } from 'vitest';
import { maxPhysicalHeight, ScaledScroll } from './scaled-scroll';

const viewport = 800;

describe('a list that fits', () => {
  test('is scrolled one to one', () => {
    const s = new ScaledScroll();
    s.resize(26_000, viewport);
    expect(s.scaled).toBe(false);
    expect(s.physicalHeight).toBe(26_000);
    expect(s.scrolled(1234)).toBe(1234);
    expect(s.shift).toBe(0);
    expect(s.moveTo(1e9)).toBe(25_200);
  });
});

describe('a list of a million rows and more', () => {
  const height = 3_000_000 * 26;
  const make = () => {
    const s = new ScaledScroll();
    s.resize(height, viewport);
    return s;
  };

  test('has an element that browsers can lay out', () => {
    expect(make().physicalHeight).toBe(maxPhysicalHeight);
  });

  test('reaches both ends', () => {
    const s = make();
    expect(s.scrolled(maxPhysicalHeight - viewport)).toBe(height - viewport);
    expect(s.scrolled(0)).toBe(0);
  });

  test('moves by what the wheel says, not by the scale', () => {
    const s = make();
    const before = s.scrolled(5_000_000);
    expect(s.scrolled(5_000_100)).toBe(before + 100);
    expect(s.scrolled(5_000_000)).toBe(before);
  });

  test('follows the scroll bar in proportion', () => {
    const s = make();
    s.scrolled(2_500_000);
    expect(s.virtual / s.virtualMax).toBeCloseTo(2_500_000 / (maxPhysicalHeight - viewport), 6);
  });

  test('places what is in sight inside the window, wherever it is', () => {
    const s = make();
    for (const physical of [0, 100, 4_000_000, 4_000_120, 9_999_200]) {
      s.scrolled(physical);
      expect(s.virtual + s.shift).toBeCloseTo(physical, 3);
    }
  });

  test('any row can be reached, and comes to rest where it belongs', () => {
    const s = make();
    for (const row of [0, 1, 1_500_000, 2_999_000]) {
      const physical = s.moveTo(row * 26);
      expect(s.virtual).toBe(row * 26);
      expect(physical).toBeGreaterThanOrEqual(0);
      expect(physical).toBeLessThanOrEqual(maxPhysicalHeight - viewport);
      expect(s.settle()).toBe(physical);
    }
  });

  test('the wheel can go through all of it: rest puts the bar right', () => {
    const s = make();
    let physical = s.moveTo(height - viewport - 5_000);
    for (let i = 0; i < 60; i++) {
      s.scrolled(physical + 100);
      physical = s.settle();
    }
    expect(s.virtual).toBe(height - viewport);
  });

  test('a list that shrinks keeps its window inside', () => {
    const s = make();
    s.moveTo(height);
    s.resize(10_000, viewport);
    expect(s.virtual).toBe(9_200);
  });
});
