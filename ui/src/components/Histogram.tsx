import 'uplot/dist/uPlot.min.css';
import { useComputedColorScheme } from '@mantine/core';
import { useEffect, useRef, useState } from 'react';
import uPlot from 'uplot';
import type { Histogram as Counts, HistogramBucket, LedgerGap } from '../api/types';
import { formatCount, formatShort, plural, type Zone } from '../lib/format';
import { edgesOf, sampledStretches } from '../lib/gaps';
import { statusClasses } from '../lib/status';
import { parseMs } from '../lib/time';
import { useNow } from '../lib/use-now';
import { Explain } from './Explain';
import { GapMarks } from './GapMarks';
import s from './Histogram.module.css';
import { Icon } from './Icon';

const names: Readonly<Record<string, string>> = { none: 'no status' };
const height = 96;
/** The caption's line, above the highest bar: as high as what can be hit in it. */
const captionHeight = 24;

interface Props {
  counts: Counts;
  /** Where pairs were lost. */
  gaps: readonly LedgerGap[];
  zone: Zone;
  onZoom: (from: number, to: number) => void;
  onZoomOut: () => void;
}

/** Times in seconds, then for each class the height of its bar's top: what was sampled counts for what it stands for. */
export function stack(counts: Counts): { data: number[][]; times: number[]; max: number } {
  const { buckets } = counts;
  const times = buckets.map((b) => parseMs(b.time) / 1000);
  let sums = buckets.map(() => 0);
  let max = 0;
  const data = statusClasses.map((name) => {
    sums = sums.map((sum, i) => sum + (buckets[i]?.estimated[name] ?? 0));
    max = sums.reduce((a, b) => Math.max(a, b), max);
    return sums;
  });
  return { data, times, max };
}

export default function Histogram({ counts, gaps, zone, onZoom, onZoomOut }: Props) {
  const holder = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(null);
  const scheme = useComputedColorScheme('light');
  const [hover, setHover] = useState<number | null>(null);
  const [width, setWidth] = useState(1000);
  const latest = useRef({ onZoom, onZoomOut, counts });
  useEffect(() => {
    latest.current = { onZoom, onZoomOut, counts };
  });

  // The plot is made anew where its looks change; new counts only replace its data.
  useEffect(() => {
    const element = holder.current;
    if (!element) return;
    const style = getComputedStyle(document.documentElement);
    const color = (name: string) => style.getPropertyValue(name).trim();
    const bars = uPlot.paths.bars?.({ size: [0.86, 40, 1], align: 1 });
    const made = new uPlot(
      {
        width: Math.max(element.clientWidth, 50),
        height,
        padding: [captionHeight, 0, 0, 0],
        legend: { show: false },
        tzDate: (ts) => (zone === 'utc' ? uPlot.tzDate(new Date(ts * 1000), 'Etc/UTC') : new Date(ts * 1000)),
        cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false } },
        select: { show: true, left: 0, top: 0, width: 0, height: 0 },
        scales: {
          x: {
            time: true,
            range: () => {
              const c = latest.current.counts;
              return [parseMs(c.from) / 1000, parseMs(c.to) / 1000];
            },
          },
          y: { range: (_u, _min, max) => [0, Math.max(1, max * 1.06)] },
        },
        axes: [
          {
            stroke: color('--muted'),
            font: '11px system-ui',
            size: 20,
            gap: 2,
            grid: { show: false },
            ticks: { show: true, size: 3, stroke: color('--line'), width: 1 },
            space: 90,
            // A label that the edge would cut is left out: half a time is another time.
            values: (u, splits) =>
              splits.map((v) => {
                const label = formatShort(v * 1000, zone, Date.now());
                const room = Math.min(u.valToPos(v, 'x'), u.width - u.valToPos(v, 'x'));
                return room < label.length * 3.4 ? '' : label;
              }),
          },
          { show: false },
        ],
        series: [
          {},
          // Tallest first: each class is drawn over the one above it.
          ...statusClasses.toReversed().map((name) => ({
            fill: color(`--bar-${name}`),
            width: 0,
            paths: bars,
            points: { show: false },
          })),
        ],
        hooks: {
          setSelect: [
            (u) => {
              if (u.select.width < 4) return;
              const from = u.posToVal(u.select.left, 'x') * 1000;
              const to = u.posToVal(u.select.left + u.select.width, 'x') * 1000;
              u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
              latest.current.onZoom(from, to);
            },
          ],
          setCursor: [
            (u) => {
              const { left } = u.cursor;
              if (left == null || left < 0) {
                setHover(null);
                return;
              }
              const c = latest.current.counts;
              const at = Math.floor((u.posToVal(left, 'x') * 1000 - parseMs(c.buckets[0]?.time)) / (c.step_ns / 1e6));
              setHover(at >= 0 && at < c.buckets.length ? at : null);
            },
          ],
        },
      },
      [[]],
      element,
    );
    plot.current = made;
    const { data, times } = stack(latest.current.counts);
    made.setData([times, ...data.toReversed()] as uPlot.AlignedData);
    const zoomOut = () => latest.current.onZoomOut();
    made.over.addEventListener('dblclick', zoomOut);
    const fit = () => {
      const wide = Math.max(element.clientWidth, 50);
      made.setSize({ width: wide, height });
      setWidth(wide);
    };
    const observer = new ResizeObserver(fit);
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [scheme, zone]);

  useEffect(() => {
    const { data, times } = stack(counts);
    plot.current?.setData([times, ...data.toReversed()] as uPlot.AlignedData);
  }, [counts]);

  const bucket = hover === null ? undefined : counts.buckets[hover];
  const { max } = stack(counts);
  const lost = gaps.reduce((n, gap) => n + gap.pairs, 0);
  const about = counts.sampled ? '~' : '';
  return (
    <figure
      className={s.figure}
      aria-label={[
        `Pairs over time: ${counts.partial ? 'at least ' : ''}${plural(counts.total, 'pair')}`,
        ...(counts.sampled ? [`which stand for about ${formatCount(counts.estimated_total)}`] : []),
        `at most ${about}${formatCount(max)} in one bar`,
        ...(lost > 0 ? [`${formatCount(lost)} lost in hatched stretches`] : []),
      ].join(', ')}
    >
      <div ref={holder} className={s.plot} title="Drag to zoom in, double-click to zoom out" />
      {counts.sampled && <SampledStretches counts={counts} />}
      <GapMarks gaps={gaps} chart={counts} width={width} zone={zone} />
      <figcaption className={s.caption}>
        <span className={s.words} aria-hidden="true">
          {bucket ? (
            <BucketText bucket={bucket} step={counts.step_ns / 1e6} partial={counts.partial} zone={zone} />
          ) : (
            max > 0 && (
              <span className="muted">
                max {counts.partial && 'at least '}
                {about}
                {formatCount(max)}
              </span>
            )
          )}
        </span>
        {counts.sampled && <SampledNote counts={counts} />}
      </figcaption>
    </figure>
  );
}

/** Underlines the bars whose heights are estimates. */
function SampledStretches({ counts }: { counts: Counts }) {
  return sampledStretches(counts).map((stretch) => {
    const { left, right } = edgesOf(counts, stretch);
    return <div key={stretch.first} className={s.sampled} aria-hidden="true" style={{ left: `${left}%`, width: `${right - left}%` }} />;
  });
}

function SampledNote({ counts }: { counts: Counts }) {
  return (
    <Explain
      label={`~${formatCount(counts.estimated_total)} sampled: estimated from ${plural(counts.total, 'pair')} that were kept. What does that mean?`}
      title="Counts with ~ are estimates: part of these pairs was sampled"
      className={s.note}
      text={
        <p>
          <b>Part of this was sampled.</b> A proxy kept one connection in so many, so each pair of it stands for several. Bars count what pairs stand for: <b>~{formatCount(counts.estimated_total)}</b> pairs, estimated from{' '}
          {formatCount(counts.total)} that are here. Bars underlined with dots are estimates. Errors and slow pairs are always kept, and count once.
        </p>
      }
    >
      <Icon name="tilde" size={12} />~{formatCount(counts.estimated_total)} sampled
    </Explain>
  );
}

function BucketText({ bucket, step, partial, zone }: { bucket: HistogramBucket; step: number; partial: boolean; zone: Zone }) {
  const start = parseMs(bucket.time);
  const now = useNow(60_000);
  const parts = statusClasses.toReversed().filter((name) => bucket.counts[name] > 0);
  return (
    <>
      <span>
        {formatShort(Math.round(start / 1000) * 1000, zone, now)} – {formatShort(Math.round((start + step) / 1000) * 1000, zone, now)}
      </span>
      {partial && <span className="muted">at least</span>}
      {parts.length === 0 && <span className="muted">none</span>}
      {parts.map((name) => (
        <span key={name}>
          <i className={s.swatch} data-class={name} />
          {names[name] ?? name} {bucket.estimated[name] === bucket.counts[name] ? '' : '~'}
          {formatCount(bucket.estimated[name])}
        </span>
      ))}
    </>
  );
}
