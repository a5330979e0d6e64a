import { memo, useEffect, useLayoutEffect, useRef, type CSSProperties, type ReactNode } from 'react';
import type { Feed, Row } from '../feed/feed';
import { exactDuration, exactSize, formatClock, formatCount, formatDay, formatDuration, formatMoment, formatShort, formatSize, plural, type Zone } from '../lib/format';
import { rowHeights, usePrefs } from '../lib/prefs';
import { isDecoded, protocolInfo } from '../lib/protocols';
import { useNow } from '../lib/use-now';
import { useRows } from '../lib/use-rows';
import { visibleText } from '../lib/visible';
import { RowFlags } from './FlagChip';
import { Icon } from './Icon';
import s from './PairList.module.css';
import { Status } from './Status';

/** The head stays in sight, over the top of the scrolling element. */
const headHeight = 26;

interface Props {
  feed: Feed;
  /** The row that the keyboard is on. */
  cursor: string | null;
  /** The row whose detail is open. */
  open: string | null;
  onPick: (id: string) => void;
  onAtTop: (atTop: boolean) => void;
  onCatchUp: () => void;
  scrollTo: { index: number; at: number } | null;
  /** Shown instead of rows when there are none. */
  empty: ReactNode;
}

export function PairList({ feed, cursor, open, onPick, onAtTop, onCatchUp, scrollTo, empty }: Props) {
  const { zone, density } = usePrefs();
  const rowHeight = rowHeights[density];
  const footer = feed.total > 0 ? 1 : 0;
  const { attach, height, first, last, top, visibleFirst, visibleLast, atTop, scrollToIndex } = useRows(feed.total + footer, rowHeight, {
    inset: headHeight,
  });

  useEffect(() => {
    if (feed.total > 0) feed.ensure(visibleFirst, visibleLast);
  }, [feed, visibleFirst, visibleLast, feed.total, feed.shown]);

  useEffect(() => onAtTop(atTop), [atTop, onAtTop]);

  useEffect(() => {
    if (scrollTo) scrollToIndex(scrollTo.index);
  }, [scrollTo, scrollToIndex]);

  // Another view begins at its top.
  const shown = useRef(feed.shown);
  useLayoutEffect(() => {
    if (shown.current !== feed.shown) {
      shown.current = feed.shown;
      scrollToIndex(0, 'start');
    }
  });

  // Only a row that exists may be named as the active one.
  const cursorAt = cursor ? feed.indexOf(cursor) : -1;
  const active = cursorAt >= first && cursorAt < last ? `row-${cursor}` : undefined;
  const today = formatDay(useNow(60_000), zone);
  const rendered: ReactNode[] = [];
  for (let i = first; i < last; i++) {
    if (i === feed.total) {
      rendered.push(<Footer key="footer" feed={feed} />);
      continue;
    }
    const row = feed.rowAt(i);
    rendered.push(
      row ? (
        <PairRow key={row.id} row={row} index={i} zone={zone} today={today} cursor={row.id === cursor} open={row.id === open} />
      ) : (
        <SkeletonRow key={`unknown ${i}`} index={i} />
      ),
    );
  }

  return (
    <section className={s.list} aria-label="Pairs" data-stale={feed.stale || undefined} style={{ '--row': `${rowHeight}px` } as CSSProperties}>
      {/* One listener for all rows: they come and go with every scroll. Keys are the page's (useKeys): they work
          wherever the focus is. */}
      {/* oxlint-disable-next-line jsx-a11y/click-events-have-key-events */}
      <div
        ref={attach}
        className={s.grid}
        role="grid"
        tabIndex={0}
        aria-label="Captured pairs, newest first"
        aria-rowcount={feed.totalExact ? feed.total + 1 : -1}
        aria-busy={feed.loading}
        aria-activedescendant={active}
        onClick={(event) => {
          if (window.getSelection()?.toString()) return;
          const id = (event.target as HTMLElement).closest<HTMLElement>('[data-id]')?.dataset.id;
          if (id) onPick(id);
        }}
      >
        <div role="rowgroup" className={s.headGroup}>
          <div className={`${s.row} ${s.head}`} role="row" aria-rowindex={1}>
            <span role="columnheader">time</span>
            <span role="columnheader">method</span>
            <span role="columnheader">path</span>
            <span role="columnheader">status</span>
            <span role="columnheader" className={s.number}>
              duration
            </span>
            <span role="columnheader" className={`${s.number} ${s.size}`}>
              size
            </span>
            <span role="columnheader" className={s.app}>
              app
            </span>
          </div>
        </div>
        <div role="rowgroup" className={s.space} style={{ height: height }}>
          <div className={s.window} role="presentation" style={{ transform: `translateY(${top}px)` }}>
            {rendered}
          </div>
        </div>
      </div>
      {feed.total === 0 && <div className={s.empty}>{empty}</div>}
      {feed.pendingCount > 0 && (
        <div className={s.over}>
          <button type="button" className={s.pill} onClick={onCatchUp} title="Show them, and follow again">
            <Icon name="up" size={12} />
            {feed.pendingExact ? '' : 'at least '}
            {formatCount(feed.pendingCount)} new
          </button>
        </div>
      )}
    </section>
  );
}

interface RowProps {
  row: Row;
  index: number;
  zone: Zone;
  today: string;
  cursor: boolean;
  open: boolean;
}

const PairRow = memo(function PairRow({ row, index, zone, today, cursor, open }: RowProps) {
  const decoded = isDecoded(row.protocol);
  const { flags } = row;
  const day = formatDay(row.ms, zone);
  return (
    <div
      id={`row-${row.id}`}
      className={s.row}
      role="row"
      aria-rowindex={index + 2}
      aria-selected={open}
      data-id={row.id}
      data-cursor={cursor || undefined}
      data-open={open || undefined}
    >
      <span role="gridcell" className={s.time} title={`${formatMoment(row.ms, zone)} (${row.time})`}>
        {day !== today && <span className="muted">{day.slice(5)} </span>}
        {formatClock(row.ms, zone)}
      </span>
      {decoded ? (
        <span role="gridcell" className={s.method}>
          {visibleText(row.method) || '–'}
        </span>
      ) : (
        <span role="gridcell" className={s.protocol} title={protocolInfo(row.protocol).advice}>
          {protocolInfo(row.protocol).title}
        </span>
      )}
      <span role="gridcell" className={s.path}>
        {decoded ? (
          <span className={s.target} title={visibleText(`${row.host}${row.path}${row.query ? `?${row.query}` : ''}`)}>
            {visibleText(row.path) || '–'}
            {row.query && <span className="muted">?{visibleText(row.query)}</span>}
          </span>
        ) : (
          <span className={`${s.target} muted`} title={protocolInfo(row.protocol).advice}>
            {visibleText(row.host) || row.server} · carried unread
          </span>
        )}
        <RowFlags flags={flags} weight={row.sample_weight} />
      </span>
      <span role="gridcell">
        <Status status={row.status} flags={flags} error={row.error} />
      </span>
      <span role="gridcell" className={s.number} title={exactDuration(row.duration_ns)}>
        {formatDuration(row.duration_ns)}
      </span>
      <span role="gridcell" className={`${s.number} ${s.size}`} title={`response ${exactSize(row.response_size)}, request ${exactSize(row.request_size)}`}>
        {flags.includes('no_response') ? '–' : formatSize(row.response_size)}
      </span>
      <span role="gridcell" className={s.app} title={visibleText([row.app, row.pod, row.namespace, row.cluster].filter(Boolean).join(' · '))}>
        {visibleText(row.app)}
      </span>
    </div>
  );
});

/** Looks the same every time: widths that move would be motion that nobody asked for. */
const SkeletonRow = memo(function SkeletonRow({ index }: { index: number }) {
  return (
    <div className={s.row} role="row" aria-rowindex={index + 2} aria-busy="true">
      <span role="gridcell" className="late">
        <span className="skeleton" style={{ width: 80 }} />
      </span>
      <span role="gridcell" className="late">
        <span className="skeleton" style={{ width: 32 }} />
      </span>
      <span role="gridcell" className="late">
        <span className="skeleton" style={{ width: `${25 + ((index * 37) % 40)}%` }} />
      </span>
      <span role="gridcell" />
      <span role="gridcell" />
      <span role="gridcell" className={s.size} />
      <span role="gridcell" className={s.app} />
    </div>
  );
});

/** How many there are, with those that wait: the number that the histogram shows, too. */
function Count({ feed }: { feed: Feed }) {
  const { zone } = usePrefs();
  const now = useNow(60_000);
  const { pendingCount: waiting, since } = feed;
  const exact = feed.totalExact && feed.pendingExact;
  const { chart } = feed;
  return (
    <>
      {exact ? '' : 'At least '}
      {plural(feed.total + waiting, 'pair')} {since === null ? 'in this range' : `since ${formatShort(Math.floor(since / 1000) * 1000, zone, now)}`}
      {chart?.sampled && `, which stand for ~${formatCount(chart.estimated_total)}`}
      {waiting > 0 && `, ${formatCount(waiting)} of them not in the list yet`}.
    </>
  );
}

function Footer({ feed }: { feed: Feed }) {
  return (
    <div className={s.footer} role="row">
      <span role="gridcell">
        {feed.pageError ? (
          <>
            <span className="tone-bad">Older pairs could not be loaded: {feed.pageError.message}</span>{' '}
            <button type="button" className="btn" onClick={() => feed.goOn()}>
              Try again
            </button>
          </>
        ) : feed.stoppedEarly ? (
          <>
            The search stopped at its limit before it had looked at everything.{' '}
            <button type="button" className="btn" onClick={() => feed.goOn()}>
              Search on
            </button>
          </>
        ) : (
          <Count feed={feed} />
        )}
      </span>
    </div>
  );
}
