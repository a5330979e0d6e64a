import { useCallback, useEffect, useLayoutEffect, useReducer, useRef, useState } from 'react';
import { ScaledScroll } from './scaled-scroll';

interface RowsWindow {
  /** Ref of the scrolling element. */
  attach: (element: HTMLElement | null) => void;
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

interface Options {
  /** Rows rendered beyond each edge of the window. */
  overscan?: number;
  /** Height of what stays in sight above the rows, inside the scrolling element. */
  inset?: number;
}

/**
 * The window onto a list of rows of one height. With one height everything is
 * arithmetic: no row is ever measured, and a million rows cost what ten do.
 * (Virtualisers that measure keep an entry for every row.)
 */
export function useRows(count: number, rowHeight: number, { overscan = 10, inset = 0 }: Options = {}): RowsWindow {
  const element = useRef<HTMLElement | null>(null);
  const settleTimer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const [scroll] = useState(() => new ScaledScroll());
  const [viewport, setViewport] = useState(0);
  const [, rerender] = useReducer((n: number) => n + 1, 0);

  scroll.resize(count * rowHeight, viewport);

  // The browser clamps scrollTop when the list gets shorter, and knows nothing
  // of the positions that resize computed when it gets taller.
  useLayoutEffect(() => {
    const el = element.current;
    if (el && scroll.scaled && Math.abs(el.scrollTop - scroll.settle()) > 1) el.scrollTop = scroll.settle();
  }, [count, rowHeight, viewport, scroll]);

  const attach = useCallback(
    (el: HTMLElement | null) => {
      element.current = el;
      if (!el) return;
      const measure = () => setViewport(Math.max(0, el.clientHeight - inset));
      const onScroll = () => {
        scroll.scrolled(el.scrollTop);
        rerender();
        if (!scroll.scaled) return;
        clearTimeout(settleTimer.current);
        settleTimer.current = setTimeout(() => {
          const rest = scroll.settle();
          if (Math.abs(el.scrollTop - rest) > 1) el.scrollTop = rest;
          rerender();
        }, 150);
      };
      const observer = new ResizeObserver(measure);
      measure();
      observer.observe(el);
      el.addEventListener('scroll', onScroll, { passive: true });
      return () => {
        observer.disconnect();
        el.removeEventListener('scroll', onScroll);
        element.current = null;
      };
    },
    [scroll, inset],
  );

  useEffect(() => () => clearTimeout(settleTimer.current), []);

  const scrollToIndex = useCallback(
    (index: number, align: 'nearest' | 'start' = 'nearest') => {
      const el = element.current;
      if (!el) return;
      const top = index * rowHeight;
      const bottom = top + rowHeight;
      let target = scroll.virtual;
      if (align === 'start' || top < target) target = top;
      else if (bottom > target + viewport) target = bottom - viewport;
      else return;
      el.scrollTop = scroll.moveTo(target);
      rerender();
    },
    [rowHeight, viewport, scroll],
  );

  const visibleFirst = Math.floor(scroll.virtual / rowHeight);
  const visibleLast = Math.min(count, Math.ceil((scroll.virtual + viewport) / rowHeight));
  const first = Math.max(0, visibleFirst - overscan);
  const last = Math.min(count, visibleLast + overscan);
  return {
    attach,
    height: scroll.physicalHeight,
    first,
    last,
    top: first * rowHeight + scroll.shift,
    visibleFirst,
    visibleLast,
    atTop: scroll.virtual < rowHeight / 2,
    scrollToIndex,
  };
}
