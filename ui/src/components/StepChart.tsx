import { useEffect, useMemo, useRef, useState } from 'react';
import type { Ledger } from '../api/types';
import { formatCount, formatDuration, formatShort, plural, type Zone } from '../lib/format';
import { barsOf, drawn, placeInfo, type Bar, type Drawn } from '../lib/ledger';
import { formatNs, parseMs } from '../lib/time';
import { useNow } from '../lib/use-now';
import { GapMarks } from './GapMarks';
import s from './StepChart.module.css';

/** What happened in each step of a ledger, stacked; what was lost lies on top. */
export function StepChart({ ledger, zone }: { ledger: Ledger; zone: Zone }) {
  const holder = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(1000);
  const [hover, setHover] = useState<number | null>(null);
  const now = useNow(60_000);
  useEffect(() => {
    const element = holder.current;
    if (!element) return undefined;
    const observer = new ResizeObserver(() => setWidth(Math.max(50, element.clientWidth)));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  const from = parseMs(ledger.from);
  const to = parseMs(ledger.to);
  const { bars, stepMs } = useMemo(() => barsOf(ledger.steps, from, to, ledger.step_ns / 1e6), [ledger.steps, from, to, ledger.step_ns]);
  const chart = useMemo(() => {
    const time = (ms: number) => formatNs(BigInt(Math.round(ms * 1e6)));
    const first = bars[0]?.ms ?? from;
    return { from: time(first), to: time(first + bars.length * stepMs), step_ns: stepMs * 1e6, buckets: bars.map((b) => ({ time: time(b.ms) })) };
  }, [bars, stepMs, from]);
  const max = bars.reduce((most, bar) => Math.max(most, height(bar)), 0);
  const bar = hover === null ? undefined : bars[hover];
  const label = (ms: number) => formatShort(Math.round(ms / 1000) * 1000, zone, now);
  return (
    <figure className={s.figure} aria-label={`Pairs in each step of ${formatDuration(stepMs * 1e6)}: at most ${plural(max, 'pair')}. The table below has the numbers.`}>
      <div
        ref={holder}
        className={s.plot}
        onPointerMove={(event) => {
          const box = event.currentTarget.getBoundingClientRect();
          const at = Math.floor(((event.clientX - box.left) / box.width) * bars.length);
          setHover(at >= 0 && at < bars.length ? at : null);
        }}
        onPointerLeave={() => setHover(null)}
      >
        <svg viewBox={`0 0 ${Math.max(1, bars.length)} 1`} preserveAspectRatio="none" aria-hidden="true">
          {drawn.map((place) => (
            <path key={place} className={s.bars} data-place={place} d={outline(bars, place, max)} />
          ))}
          {hover !== null && <rect className={s.cursor} x={hover} y={0} width={1} height={1} />}
        </svg>
      </div>
      <GapMarks gaps={ledger.gaps} chart={chart} width={width} zone={zone} />
      <div className={s.axis} aria-hidden="true">
        <span>{label(bars[0]?.ms ?? from)}</span>
        <span>{label((bars[0]?.ms ?? from) + (bars.length * stepMs) / 2)}</span>
        <span>{label((bars[0]?.ms ?? from) + bars.length * stepMs)}</span>
      </div>
      <figcaption className={s.caption} aria-hidden="true">
        {bar ? (
          <>
            <span>
              {label(bar.ms)} – {label(bar.ms + stepMs)}
            </span>
            {drawn.map((place) => (
              <span key={place}>
                <i className={s.swatch} data-place={place} />
                {placeInfo[place].label} {formatCount(bar.pairs[place])}
              </span>
            ))}
          </>
        ) : (
          <>
            {drawn.map((place) => (
              <span key={place} className="muted">
                <i className={s.swatch} data-place={place} />
                {placeInfo[place].label}
              </span>
            ))}
            {max > 0 && <span className="muted">max {formatCount(max)}</span>}
          </>
        )}
      </figcaption>
    </figure>
  );
}

function height(bar: Bar): number {
  return drawn.reduce((n, place) => n + bar.pairs[place], 0);
}

/** The rectangles of one place in all bars, as one path of a picture that is 1 high. */
function outline(bars: readonly Bar[], place: Drawn, max: number): string {
  if (max === 0) return '';
  const below = drawn.slice(0, drawn.indexOf(place));
  return bars
    .map((bar, i) => {
      const pairs = bar.pairs[place];
      if (pairs === 0) return '';
      const base = below.reduce((n, p) => n + bar.pairs[p], 0);
      const scale = (n: number) => 1 - n / (max * 1.06);
      return `M${i + 0.07} ${scale(base)}h.86V${scale(base + pairs)}h-.86Z`;
    })
    .join('');
}
