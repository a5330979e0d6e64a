import { useCallback, useEffect, useLayoutEffect, useReducer, useRef } from 'react';
import { ScaledScroll } from './scaled-scroll';

interface RowsWindow {
  /** For the scrolling element. */
  ref: (element: HTMLElement | null) => void;
  /** Height of the element inside it. */
  height: number;
  /** Rows to render, last excluded, and where the first of them goes. */
  first: number;
  last: number;
  top: number;
  /** Rows that are really in sight. */
  visibleFirst: number;
  visibleLast: number;
  atTop: boolean;
  scrollToIndex(index: number, align?: 'nearest' | 'start'): void;
}

/**
 * The window onto a list of rows of one height. With one height everything is
 * arithmetic: no row is ever measured, and a million rows cost what ten do.
 */
export function useRows(count: number, rowHeight: number, overscan = 10): RowsWindow {
  const element = useRef<HTMLElement | null>(null);
  const scroll = useRef<ScaledScroll>(null as unknown as ScaledScroll);
  scroll.current ??= new ScaledScroll();
  const viewport = useRef(0);
  const settleTimer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const [, rerender] = useReducer((n: number) => n + 1, 0);

  const s = scroll.current;
  s.resize(count * rowHeight, viewport.current);

  // The browser clamps scrollTop when the list gets shorter, and knows nothing
  // of the positions that resize computed when it gets taller.
  useLayoutEffect(() => {
    const el = element.current;
    if (el && s.scaled && Math.abs(el.scrollTop - s.settle()) > 1) el.scrollTop = s.settle();
  }, [count, rowHeight, s]);

  const ref = useCallback((el: HTMLElement | null) => {
    element.current = el;
    if (!el) return;
    const onScroll = () => {
      const current = scroll.current;
      const physical = el.scrollTop;
      current.scrolled(physical);
      rerender();
      if (current.scaled) {
        clearTimeout(settleTimer.current);
        settleTimer.current = setTimeout(() => {
          const rest = current.settle();
          if (Math.abs(el.scrollTop - rest) > 1) el.scrollTop = rest;
          rerender();
        }, 150);
      }
    };
    const observer = new ResizeObserver(() => {
      viewport.current = el.clientHeight;
      rerender();
    });
    viewport.current = el.clientHeight;
    observer.observe(el);
    el.addEventListener('scroll', onScroll, { passive: true });
    rerender();
    return () => {
      observer.disconnect();
      el.removeEventListener('scroll', onScroll);
      clearTimeout(settleTimer.current);
      element.current = null;
    };
  }, []);

  useEffect(() => () => clearTimeout(settleTimer.current), []);

  const scrollToIndex = useCallback(
    (index: number, align: 'nearest' | 'start' = 'nearest') => {
      const el = element.current;
      if (!el) return;
      const current = scroll.current;
      const top = index * rowHeight;
      const bottom = top + rowHeight;
      let target = current.virtual;
      if (align === 'start' || top < target) target = top;
      else if (bottom > target + viewport.current) target = bottom - viewport.current;
      else return;
      el.scrollTop = current.moveTo(target);
      rerender();
    },
    [rowHeight],
  );

  const visibleFirst = Math.floor(s.virtual / rowHeight);
  const visibleLast = Math.min(count, Math.ceil((s.virtual + viewport.current) / rowHeight));
  const first = Math.max(0, visibleFirst - overscan);
  const last = Math.min(count, visibleLast + overscan);
  return {
    ref,
    height: s.physicalHeight,
    first,
    last,
    top: first * rowHeight + s.shift,
    visibleFirst,
    visibleLast,
    atTop: s.virtual < rowHeight / 2,
    scrollToIndex,
  };
}
