import { Link } from '@tanstack/react-router';
import { useMemo } from 'react';
import type { LedgerGap } from '../api/types';
import { formatCount, formatShort, plural, sentence, type Zone } from '../lib/format';
import { edgesOf, placeGaps, spanOf, type Axis, type GapMark } from '../lib/gaps';
import { dropLabel, reasonInfo } from '../lib/reasons';
import { parseMs } from '../lib/time';
import { useNow } from '../lib/use-now';
import { visibleText } from '../lib/visible';
import { withoutCount } from '../lib/words';
import { Explain } from './Explain';
import s from './GapMarks.module.css';
import { Icon } from './Icon';

/** As wide as a mark's button becomes. */
const markWidth = 52;
/** Gaps that a mark tells one by one; the ledger has the others. */
const told = 4;

interface Props {
  gaps: readonly LedgerGap[];
  chart: Axis;
  /** Pixels that the chart is wide. */
  width: number;
  zone: Zone;
}

/** Paints into a chart where pairs were lost: hatched, with a mark that says how many and why. */
export function GapMarks({ gaps, chart, width, zone }: Props) {
  const bar = width / Math.max(1, chart.buckets.length);
  const marks = useMemo(() => placeGaps(gaps, chart, markWidth / Math.max(bar, 0.1)), [gaps, chart, bar]);
  if (marks.length === 0) return null;
  return (
    <>
      {marks.flatMap((mark) =>
        mark.stretches.map((stretch) => {
          const { left, right } = edgesOf(chart, stretch);
          return <div key={`${left} ${right}`} className={s.hatch} aria-hidden="true" style={{ left: `${left}%`, width: `max(4px, ${right - left}%)` }} />;
        }),
      )}
      <ul className={s.marks} aria-label="Stretches in which pairs were lost">
        {marks.map((mark) => {
          const { left, right } = edgesOf(chart, mark);
          const half = markWidth / 2;
          return (
            <li key={`${mark.gaps[0]?.from} ${mark.gaps[0]?.epoch}`} style={{ left: `clamp(${half}px, ${(left + right) / 2}%, calc(100% - ${half}px))` }}>
              <Mark mark={mark} zone={zone} />
            </li>
          );
        })}
      </ul>
    </>
  );
}

function Mark({ mark, zone }: { mark: GapMark; zone: Zone }) {
  const now = useNow(60_000);
  const { gaps, pairs, atMost } = mark;
  const span = spanOf(gaps);
  const why = [...new Set(gaps.map(dropLabel))].join('; ');
  const when = spanText(span, zone, now);
  const lost = `${atMost ? 'at most ' : ''}${plural(pairs, 'pair')} lost`;
  return (
    <Explain
      className={s.mark}
      label={`${lost} ${when}: ${why}`}
      title={`${lost}: ${why}`}
      text={
        <div className={s.text}>
          <p>
            <b className="tone-bad">
              <Icon name="cross" size={12} /> {lost}
            </b>{' '}
            <span className="muted">{when}</span>
          </p>
          <ul className={s.gaps}>
            {gaps.slice(0, told).map((gap) => (
              <Gap key={`${gap.from} ${gap.proxy_id} ${gap.epoch} ${gap.hop} ${gap.reason}`} gap={gap} zone={zone} alone={gaps.length === 1} />
            ))}
          </ul>
          {gaps.length > told && <p className="muted">and {plural(gaps.length - told, 'more gap')} here</p>}
          <p>
            <Link to="/ledger" search={{ from: span.from, to: justBehind(span) }}>
              Show this stretch in the ledger
            </Link>
          </p>
        </div>
      }
    >
      <Icon name="cross" size={11} />
      {atMost && pairs > 0 && '≤'}
      {atMost && pairs === 0 ? '?' : short(pairs)}
    </Explain>
  );
}

/** One gap; the head of a mark that has no other says already how many pairs, and when. */
function Gap({ gap, zone, alone }: { gap: LedgerGap; zone: Zone; alone: boolean }) {
  const now = useNow(60_000);
  const info = reasonInfo(gap.hop, gap.reason);
  return (
    <li>
      <p>
        <b>{dropLabel(gap)}</b>{' '}
        {!alone && (
          <span className={s.count}>
            {gap.bound === 'at_most' && 'at most '}
            {formatCount(gap.pairs)}{' '}
          </span>
        )}
        <span className="muted">
          {visibleText(gap.app)}
          {gap.proxy_id && ` · ${visibleText(gap.proxy_id)}`}
          {!alone && ` · ${spanText(gap, zone, now)}`}
        </span>
      </p>
      <p>{sentence(visibleText(withoutCount(gap.text)) || info.cause)}</p>
      {info.fix && <p className="muted">{info.fix}</p>}
    </li>
  );
}

function spanText({ from, to }: { from: string; to: string }, zone: Zone, now: number): string {
  const [start, end] = [wholeSecond(from), wholeSecond(to)];
  return start === end ? `at ${formatShort(start, zone, now)}` : `${formatShort(start, zone, now)} – ${formatShort(end, zone, now)}`;
}

function wholeSecond(time: string): number {
  return Math.floor(parseMs(time) / 1000) * 1000;
}

/** The end of a range that has the last moment of a stretch in it. */
function justBehind({ from, to }: { from: string; to: string }): string {
  return new Date(Math.max(parseMs(from) + 1000, Math.ceil(parseMs(to) + 1))).toISOString();
}

/** A count that fits into a mark: 12, 1.2k, 34k, 5M. */
function short(n: number): string {
  if (n < 1000) return String(n);
  if (n < 9950) return `${(n / 1000).toFixed(1)}k`;
  if (n < 999_500) return `${Math.round(n / 1000)}k`;
  return `${n < 9.95e6 ? (n / 1e6).toFixed(1) : Math.round(n / 1e6)}M`;
}
