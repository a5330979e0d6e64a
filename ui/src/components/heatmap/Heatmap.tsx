import { useComputedColorScheme } from '@mantine/core';
import { useEffect, useId, useMemo, useRef, useState, type KeyboardEvent, type PointerEvent } from 'react';
import type { HeatmapCounts } from '../../api/types';
import { formatDuration, formatShort, plural, type Zone } from '../../lib/format';
import { boxOf, cellsBetween, cellsOf, countIn, decades, durationsText, mostIn, placeOf, type Box, type Cells } from '../../lib/heatmap';
import { parseMs } from '../../lib/time';
import { useNow } from '../../lib/use-now';
import s from './Heatmap.module.css';

interface Props {
  counts: HeatmapCounts;
  box: Box | null;
  onBox: (box: Box | null) => void;
  zone: Zone;
  stale: boolean;
}

interface Cell {
  x: number;
  y: number;
}

/** Columns and bands that a step with Ctrl goes. */
const stride = 10;

/**
 * Exchanges by time and duration, the darker the more. A box in it is selected
 * by dragging, or by the arrows, with Shift for its other corner, and Enter.
 */
export function Heatmap({ counts, box, onBox, zone, stale }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const scheme = useComputedColorScheme('light');
  const [size, setSize] = useState({ width: 800, height: 280 });
  const [hover, setHover] = useState<Cell | null>(null);
  // Both corners of a box that is not selected yet.
  const [draft, setDraft] = useState<{ from: Cell; to: Cell } | null>(null);
  const [dragging, setDragging] = useState(false);
  const help = useId();
  const now = useNow(60_000);
  const across = counts.columns.length;
  const up = counts.bands.length;
  const most = useMemo(() => mostIn(counts), [counts]);

  useEffect(() => {
    const element = canvas.current;
    if (!element) return undefined;
    const fit = () => setSize({ width: Math.max(50, element.clientWidth), height: Math.max(50, element.clientHeight) });
    const observer = new ResizeObserver(fit);
    fit();
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  useEffect(() => {
    const element = canvas.current;
    const draw = element?.getContext('2d');
    if (!element || !draw) return;
    const scale = window.devicePixelRatio || 1;
    element.width = Math.round(size.width * scale);
    element.height = Math.round(size.height * scale);
    // Bounds of cells on whole pixels: no seams.
    const [x, y] = [(i: number) => Math.round((i / across) * element.width), (i: number) => element.height - Math.round((i / up) * element.height)];
    draw.clearRect(0, 0, element.width, element.height);
    draw.fillStyle = getComputedStyle(document.documentElement).getPropertyValue('--accent').trim();
    counts.columns.forEach((column, i) =>
      column.counts.forEach((n, j) => {
        if (n === 0) return;
        draw.globalAlpha = 0.18 + 0.82 * (Math.log(n) / Math.max(Math.log(most), 1));
        draw.fillRect(x(i), y(j + 1), x(i + 1) - x(i), y(j) - y(j + 1));
      }),
    );
  }, [counts, size, scheme, across, up, most]);

  const cellAt = (event: PointerEvent<HTMLElement>): Cell => {
    const area = event.currentTarget.getBoundingClientRect();
    const place = (part: number, of: number) => Math.min(of - 1, Math.max(0, Math.floor(part * of)));
    return { x: place((event.clientX - area.left) / area.width, across), y: place(1 - (event.clientY - area.top) / area.height, up) };
  };
  const select = (cells: Cells) => onBox(boxOf(counts, cells));
  const selected = box && cellsOf(counts, box);
  const shown = draft ? cellsBetween(draft.from, draft.to) : selected;

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.altKey || event.metaKey) return;
    const by = event.ctrlKey ? stride : 1;
    const move = { ArrowLeft: [-by, 0], ArrowRight: [by, 0], ArrowUp: [0, by], ArrowDown: [0, -by] }[event.key];
    if (move) {
      const at = draft?.to ?? (selected ? { x: selected.right, y: selected.high } : { x: Math.floor(across / 2), y: Math.floor(up / 2) });
      const step = (from: number, dx: number | undefined, of: number) => Math.min(of - 1, Math.max(0, from + (dx ?? 0)));
      // The first key shows where one is; a box is made from there.
      const to = draft ? { x: step(at.x, move[0], across), y: step(at.y, move[1], up) } : at;
      setDraft({ from: event.shiftKey && draft ? draft.from : to, to });
    } else if ((event.key === 'Enter' || event.key === ' ') && draft) {
      select(cellsBetween(draft.from, draft.to));
      setDraft(null);
    } else if (event.key === 'Escape' && (draft || box)) {
      if (draft) setDraft(null);
      else onBox(null);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };

  const words = (cells: Cells): string => {
    const of = boxOf(counts, cells);
    if (!of) return '';
    const short = (time: string) => formatShort(Math.round(parseMs(time) / 1000) * 1000, zone, now);
    return `${short(of.from)} – ${short(of.to)}, ${durationsText(of)}: ${plural(countIn(counts, cells), 'exchange')}`;
  };
  const ticks = decades(counts).flatMap((ns) => {
    const at = placeOf(counts, ns);
    return at === null ? [] : [{ ns, bottom: (at / up) * 100 }];
  });
  const caption = draft ? words(cellsBetween(draft.from, draft.to)) : hover && hover.x < across && hover.y < up ? words(cellsBetween(hover, hover)) : '';
  const time = (part: number) => formatShort(Math.round((parseMs(counts.from) + part * (parseMs(counts.to) - parseMs(counts.from))) / 1000) * 1000, zone, now);
  return (
    <figure className={s.figure} data-stale={stale || undefined} aria-label="Durations over time">
      <div className={s.plot}>
        <div className={s.scale} aria-hidden="true">
          {ticks.map(({ ns, bottom }) => (
            <span key={ns} style={{ bottom: `${bottom}%` }}>
              {formatDuration(ns)}
            </span>
          ))}
        </div>
        {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-element-interactions -- it takes the arrows, which is what an application is for */}
        <div
          className={s.area}
          role="application"
          // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- as above
          tabIndex={0}
          aria-roledescription="heatmap"
          aria-label={`Durations over time: ${plural(counts.pairs - counts.absent, 'exchange')} in ${across} steps and ${up} bands, at most ${plural(most, 'exchange')} in one cell`}
          aria-describedby={help}
          onKeyDown={onKeyDown}
          onBlur={() => setDraft(null)}
          onPointerDown={(event) => {
            if (event.button !== 0 || across === 0 || up === 0) return;
            event.currentTarget.setPointerCapture?.(event.pointerId);
            const at = cellAt(event);
            setDragging(true);
            setDraft({ from: at, to: at });
          }}
          onPointerMove={(event) => {
            const at = cellAt(event);
            setHover(at);
            if (dragging) setDraft((old) => (old ? { ...old, to: at } : old));
          }}
          onPointerUp={() => {
            if (!dragging) return;
            setDragging(false);
            if (draft) select(cellsBetween(draft.from, draft.to));
            setDraft(null);
          }}
          onPointerCancel={() => {
            setDragging(false);
            setDraft(null);
          }}
          onPointerLeave={() => setHover(null)}
        >
          <canvas ref={canvas} className={s.canvas} />
          {ticks.map(({ ns, bottom }) => (
            <i key={ns} className={s.tick} style={{ bottom: `${bottom}%` }} />
          ))}
          {shown && (
            <div
              className={s.box}
              data-draft={draft ? true : undefined}
              style={{
                left: `${(shown.left / across) * 100}%`,
                width: `${((shown.right - shown.left + 1) / across) * 100}%`,
                bottom: `${(shown.low / up) * 100}%`,
                height: `${((shown.high - shown.low + 1) / up) * 100}%`,
              }}
            />
          )}
        </div>
      </div>
      <div className={s.axis} aria-hidden="true">
        <span>{time(0)}</span>
        <span>{time(0.5)}</span>
        <span>{time(1)}</span>
      </div>
      <figcaption className={s.caption}>
        <span aria-live="polite" className={draft && !dragging ? undefined : s.quiet}>
          {draft && !dragging ? caption : ''}
        </span>
        <span aria-hidden="true">{draft && !dragging ? '' : caption}</span>
        {!caption && (
          <span id={help} className="muted">
            Drag over what looks odd. By keyboard: <kbd>←</kbd> <kbd>↑</kbd> <kbd>→</kbd> <kbd>↓</kbd> go, with <kbd>Shift</kbd> they span a box, <kbd>Enter</kbd> selects it, <kbd>Esc</kbd> lets go.
          </span>
        )}
        {caption && <span id={help} className="sr">Arrows go, with Shift they span a box, Enter selects it, Escape lets go.</span>}
      </figcaption>
    </figure>
  );
}
