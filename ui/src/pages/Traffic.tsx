import { useQuery } from '@tanstack/react-query';
import { getRouteApi } from '@tanstack/react-router';
import { lazy, Suspense, useCallback, useEffect, useMemo, useRef, useState } from 'react';
import { Problem, Unreachable } from '../api/client';
import { fetchCurl, infoQuery, ledgerQuery } from '../api/queries';
import type { LedgerGap } from '../api/types';
import { Detail } from '../components/detail/Detail';
import { EmptyState } from '../components/EmptyState';
import { Icon } from '../components/Icon';
import { NoResults } from '../components/NoResults';
import { PairList } from '../components/PairList';
import { QueryBar, type QueryBarHandle } from '../components/QueryBar';
import { RangePicker } from '../components/RangePicker';
import { Splitter } from '../components/Splitter';
import { ViewMenu } from '../components/ViewMenu';
import { useFeed } from '../feed/context';
import type { Feed } from '../feed/feed';
import { copyText } from '../lib/clipboard';
import { plural } from '../lib/format';
import { notice } from '../lib/notice';
import { setPrefs, usePrefs } from '../lib/prefs';
import { addClause, appOf } from '../lib/query';
import { isLive, rangeLabel, wider, type Range } from '../lib/range';
import { refusalOf } from '../lib/refusal';
import { detailTabs, searchRange, type DetailTab, type TrafficSearch } from '../lib/search';
import { useMay } from '../lib/session';
import { useKeys } from '../lib/use-keys';
import { useNow } from '../lib/use-now';
import { useTitle } from '../lib/use-title';
import { visibleText } from '../lib/visible';
import s from './Traffic.module.css';

const Histogram = lazy(() => import('../components/Histogram'));

const route = getRouteApi('/');
const chartRefreshMs = 5000;
const noGaps: readonly LedgerGap[] = [];
/** A tab in the background gives its connection back after this. */
const sleepAfterMs = 30_000;
/** Below their sum the detail covers the list. */
const minList = 440;
const minDetail = 380;
const list = '[role="grid"]';
const detail = '[data-pane="detail"]';

function focusIn(parent: HTMLElement | null, what: string): void {
  parent?.querySelector<HTMLElement>(what)?.focus({ preventScroll: true });
}

export function Traffic() {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const feed = useFeed();
  const { zone, detailWidth } = usePrefs();
  const queryBar = useRef<QueryBarHandle>(null);
  const mayRead = useMay('investigator');

  const q = search.q ?? '';
  const range = useMemo(() => searchRange(search), [search]);
  const openId = search.row ?? null;
  const tab: DetailTab = search.tab ?? 'overview';
  const live = isLive(range);

  const [paused, setPaused] = useState(false);
  const [atTop, setAtTop] = useState(true);
  const [cursor, setCursor] = useState<string | null>(openId);
  const [scrollTo, setScrollTo] = useState<{ index: number; at: number } | null>(null);

  const go = useCallback(
    (change: Partial<TrafficSearch>, replace = false) => {
      void navigate({ search: (old) => ({ ...old, ...change }), replace });
    },
    [navigate],
  );

  // The view that the URL asks for.
  const { from, to } = range;
  useEffect(() => {
    const same = feed.view && feed.view.q === q && feed.view.range.from === from && feed.view.range.to === to;
    if (same) feed.wake();
    else feed.open({ q, range: to ? { from, to } : { from } });
  }, [feed, q, from, to]);
  useEffect(() => () => feed.sleep(), [feed]);

  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const onVisibility = () => {
      clearTimeout(timer);
      if (document.visibilityState === 'hidden') timer = setTimeout(() => feed.sleep(), sleepAfterMs);
      else feed.wake();
    };
    document.addEventListener('visibilitychange', onVisibility);
    return () => {
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', onVisibility);
    };
  }, [feed]);

  useEffect(() => {
    if (!live) return undefined;
    const timer = setInterval(() => void feed.refreshChart(), chartRefreshMs);
    return () => clearInterval(timer);
  }, [feed, live]);

  // The list holds still while somebody reads in it.
  const hold = paused || !atTop || openId !== null || cursor !== null;
  useEffect(() => feed.hold(hold), [feed, hold]);

  const catchUp = () => {
    setPaused(false);
    setCursor(null);
    if (openId) go({ row: undefined, tab: undefined });
    setScrollTo({ index: 0, at: Date.now() });
    feed.release();
  };

  const select = useCallback(
    (id: string, open: boolean) => {
      setCursor(id);
      if (open) go({ row: id }, openId !== null);
    },
    [go, openId],
  );

  const move = (step: number) => {
    if (feed.total === 0) return;
    const current = cursor ?? openId;
    const at = current ? feed.indexOf(current) : -1;
    const index = at < 0 ? 0 : Math.min(Math.max(at + step, 0), feed.total - 1);
    const row = feed.rowAt(index);
    setScrollTo({ index, at: Date.now() });
    if (row) select(row.id, openId !== null);
    // Tab goes on from the row, and not from the top of the page; readers of screens hear the row.
    if (document.activeElement === document.body) focusIn(body.current, list);
  };

  const close = () => {
    if (openId) go({ row: undefined, tab: undefined });
    else if (cursor) setCursor(null);
    else return false;
    return undefined;
  };

  const copyCurl = async (id: string) => {
    try {
      notice((await copyText(await fetchCurl(id))) ? 'Copied as a curl command' : 'The browser did not allow copying');
    } catch (error) {
      notice(error instanceof Error ? error.message : 'The curl command could not be fetched');
    }
  };

  const arrow = (step: number) => (event: KeyboardEvent) => {
    // In the detail they scroll; on the separator and in tabs they have their own meaning.
    if ((event.target as Element | null)?.closest?.(`${detail} *,[role="separator"]`)) return false;
    move(step);
    return undefined;
  };

  useKeys({
    j: () => move(1),
    k: () => move(-1),
    ']': () => (openId ? move(1) : false),
    '[': () => (openId ? move(-1) : false),
    ArrowDown: arrow(1),
    ArrowUp: arrow(-1),
    Home: () => {
      setScrollTo({ index: 0, at: Date.now() });
    },
    End: () => {
      setScrollTo({ index: feed.total, at: Date.now() });
    },
    Enter: (event) => {
      if ((event.target as Element | null)?.closest?.('button,a,summary,[role="tab"]')) return false;
      if (!cursor) return false;
      select(cursor, true);
      return undefined;
    },
    Escape: close,
    '/': () => queryBar.current?.focus(),
    ' ': (event) => {
      if ((event.target as Element | null)?.closest?.('button,a,summary,[role="tab"]')) return false;
      if (!live) return false;
      setPaused((p) => !p);
      return undefined;
    },
    c: () => {
      const id = openId ?? cursor;
      if (!id) return false;
      if (!mayRead) {
        notice('Copying as a curl command needs role investigator');
        return undefined;
      }
      void copyCurl(id);
      return undefined;
    },
    ...Object.fromEntries(
      detailTabs.map((name, i) => [String(i + 1), () => (openId ? go({ tab: name }, true) : false)]),
    ),
  });

  const early = openId ? feed.rowAt(feed.indexOf(openId)) : undefined;
  const label = rangeLabel(range, zone, useNow(60_000)).toLowerCase();
  useTitle(
    early
      ? visibleText(`${early.method || early.protocol} ${early.path} ${early.status || ''} · Weir`.replace(/\s+/g, ' '))
      : `${q ? `${q} · ` : ''}${label} · Weir`,
  );

  // What was refused may be the query before this one, until the feed has heard of it.
  const { mistakes, refusal } = refusalOf(feed.view?.q === q ? feed.error : null);
  // Recent rows tell which applications there are, for completion.
  const values = useMemo(() => {
    const apps = new Set<string>();
    const hosts = new Set<string>();
    for (let i = 0; i < 300; i++) {
      const row = feed.rowAt(i);
      if (!row) break;
      if (row.app) apps.add(row.app);
      if (row.host && hosts.size < 20) hosts.add(row.host);
    }
    return { app: [...apps].toSorted(), host: [...hosts].toSorted() };
    // oxlint-disable-next-line react/exhaustive-deps -- the feed's rows are not React state; a new view is enough
  }, [feed, feed.shown, feed.total > 0]);

  // Zooming out goes back the way in.
  const zoomed = useRef<Range[]>([]);
  const setRange = (next: Range) => go({ from: next.from === '15m' ? undefined : next.from, to: next.to });
  const zoom = (start: number, end: number) => {
    zoomed.current.push(range);
    setRange({ from: new Date(start).toISOString(), to: new Date(end).toISOString() });
  };
  const zoomOut = () => {
    const back = zoomed.current.pop() ?? wider(range);
    if (back) setRange(back);
  };

  const change = (c: { q?: string; range?: Range }) => {
    if (c.q !== undefined) go({ q: c.q || undefined });
    if (c.range) setRange(c.range);
  };

  // Where pairs were lost, along with the counts; of one app where the query is about one.
  const shownRange = feed.shown?.range ?? range;
  const ledger = useQuery(ledgerQuery(shownRange, appOf(feed.shown?.q ?? q), isLive(shownRange) ? chartRefreshMs : false, feed.chart?.from));
  const gaps = ledger.data?.gaps ?? noGaps;

  const body = useRef<HTMLDivElement>(null);
  const [bodyWidth, setBodyWidth] = useState(1280);
  useEffect(() => {
    const element = body.current;
    if (!element) return undefined;
    const observer = new ResizeObserver(() => setBodyWidth(element.clientWidth));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  const covers = bodyWidth < minList + minDetail;
  const maxDetail = Math.max(minDetail, bodyWidth - minList);
  const width = Math.min(Math.max(detailWidth || Math.round(bodyWidth * 0.48), minDetail), maxDetail);

  // The focus is not lost along with what had it: a detail that covers the list takes it, and the list takes it back.
  const opened = openId !== null;
  const wasOpen = useRef(false);
  useEffect(() => {
    const before = wasOpen.current;
    wasOpen.current = opened;
    const { activeElement } = document;
    if (opened && covers && (activeElement === document.body || activeElement?.closest(list))) {
      focusIn(body.current, detail);
    } else if (!opened && before && activeElement === document.body) {
      focusIn(body.current, list);
    }
  }, [opened, covers]);

  return (
    <main className={s.page}>
      <h1 className="sr">Traffic</h1>
      <div className={s.query}>
        <QueryBar
          ref={queryBar}
          value={q}
          onApply={(next) => {
            // The same query again is asked again: that is what Enter means.
            if (next === q) feed.reload();
            else go({ q: next || undefined });
          }}
          mistakes={mistakes}
          refusal={refusal}
          values={values}
        />
        <RangePicker range={range} onChange={setRange} />
        <LiveButton
          live={live}
          held={hold || feed.tail.kind === 'refused'}
          onClick={() => {
            if (!live) {
              setRange({ from: '15m' });
              setPaused(false);
            } else if (hold) catchUp();
            else setPaused(true);
          }}
        />
        <ViewMenu />
      </div>
      <div className={s.chart} data-stale={feed.stale || undefined}>
        {feed.chart && (
          <Suspense fallback={null}>
            <Histogram counts={feed.chart} gaps={gaps} zone={zone} onZoom={zoom} onZoomOut={zoomOut} />
          </Suspense>
        )}
      </div>
      <Summary feed={feed} />
      <div ref={body} className={s.body} data-detail={openId !== null || undefined} data-covers={covers || undefined}>
        <PairList
          feed={feed}
          cursor={cursor}
          open={openId}
          onPick={(id) => select(id, true)}
          onAtTop={setAtTop}
          onCatchUp={catchUp}
          scrollTo={scrollTo}
          empty={<Nothing feed={feed} q={q} range={range} onChange={change} />}
        />
        {openId !== null && (
          <>
            {!covers && <Splitter width={width} min={minDetail} max={maxDetail} onChange={(w) => setPrefs({ detailWidth: w })} />}
            <Detail
              id={openId}
              early={early}
              tab={tab}
              width={covers ? bodyWidth : width}
              onTab={(next) => go({ tab: next === 'overview' ? undefined : next }, true)}
              onClose={close}
              onMove={move}
              onFilter={(clause) => go({ q: addClause(q, clause) })}
              onShow={(next) => go({ q: next, from: 'all', to: undefined, row: undefined, tab: undefined })}
              onOpen={(id) => go({ row: id })}
              onCompare={(both) => void navigate({ to: '/compare', search: both })}
            />
          </>
        )}
      </div>
    </main>
  );
}

function LiveButton({ live, held, onClick }: { live: boolean; held: boolean; onClick: () => void }) {
  const following = live && !held;
  return (
    <button
      type="button"
      className="btn"
      style={{ height: 30, width: 84, justifyContent: 'center' }}
      aria-pressed={following}
      onClick={onClick}
      title={following ? 'New pairs come in at the top. Pause (Space)' : live ? 'The list holds still. Follow again' : 'This range is over. Follow what comes now'}
    >
      <Icon name={following ? 'pause' : 'play'} size={12} />
      {following ? 'live' : live ? 'paused' : 'go live'}
    </button>
  );
}

/** How many there are, and whether that is all. Takes no room until there is something to say. */
function Summary({ feed }: { feed: Feed }) {
  const { shown } = feed;
  if (!feed.stale || !shown) return null;
  return (
    <p className={s.stale} role="status">
      <Icon name="info" size={12} />
      <span>
        {feed.loading && 'Searching … '}
        Below is still {shown.q ? <>the answer to <code>{shown.q}</code></> : 'what there is without a query'}
        {` (${feed.totalExact ? '' : 'at least '}${plural(feed.total, 'pair')})`}.
      </span>
    </p>
  );
}

interface NothingProps {
  feed: Feed;
  q: string;
  range: Range;
  onChange: (change: { q?: string; range?: Range }) => void;
}

function Nothing({ feed, q, range, onChange }: NothingProps) {
  const { data: info } = useQuery(infoQuery);
  if (feed.error) {
    if (feed.error instanceof Unreachable) {
      return <p className="muted">Nothing to show until the analyzer answers. The query and the range are kept.</p>;
    }
    if (feed.error instanceof Problem && feed.error.isQuery) {
      return <p className="muted">The query has a mistake, so nothing was searched. It is marked above.</p>;
    }
    return (
      <p>
        <span className="tone-bad">{feed.error.message}</span>{' '}
        <button type="button" className="btn" onClick={() => feed.reload()}>
          Try again
        </button>
      </p>
    );
  }
  if (feed.loading || !feed.shown) return <p className="muted late">Searching …</p>;
  if (!info) return <p className="muted late">Searching …</p>;
  if (info.pairs === 0) return <EmptyState />;
  return <NoResults q={q} range={range} onChange={onChange} />;
}
