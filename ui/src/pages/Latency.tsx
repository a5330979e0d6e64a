import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useMemo } from 'react';
import { differenceQuery, heatmapQuery } from '../api/queries';
import { AskBar } from '../components/AskBar';
import { Heatmap } from '../components/heatmap/Heatmap';
import { Ranking } from '../components/heatmap/Ranking';
import { Summary } from '../components/heatmap/Summary';
import { SumsTabs } from '../components/SumsTabs';
import t from '../components/Table.module.css';
import { ValueMenus } from '../components/ValueMenu';
import { formatShort, plural } from '../lib/format';
import { durationClause, durationsText, readBox, writeBox, type Box } from '../lib/heatmap';
import { usePrefs } from '../lib/prefs';
import { addClause } from '../lib/query';
import { rangeLabel } from '../lib/range';
import { searchRange, type LatencySearch } from '../lib/search';
import { parseMs } from '../lib/time';
import { useNow } from '../lib/use-now';
import { useTitle } from '../lib/use-title';
import l from './Latency.module.css';
import s from './Sums.module.css';

const route = getRouteApi('/latency');

/** How long exchanges took, over time; and what those in a part of the picture have in common. */
export function Latency() {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const { zone } = usePrefs();
  const now = useNow(1000);
  const q = search.q ?? '';
  const range = useMemo(() => searchRange(search), [search]);
  const box = useMemo(() => readBox(search), [search]);
  const go = (change: LatencySearch) => void navigate({ search: (old) => ({ ...old, ...change }) });
  const onBox = (next: Box | null) => go(writeBox(next));
  const { data, error, isFetching, isPlaceholderData, refetch } = useQuery(heatmapQuery(q, range));
  const ranking = useQuery(differenceQuery(q, range, box));
  useTitle(`Latency · ${q ? `${q} · ` : ''}${rangeLabel(range, zone, now).toLowerCase()} · Weir`);

  const timed = data ? data.pairs - data.absent : 0;
  const short = (time: string) => formatShort(Math.round(parseMs(time) / 1000) * 1000, zone, now);
  return (
    <main className={`${s.page} ${l.page}`}>
      <h1 className="sr">Latency</h1>
      <AskBar q={q} range={range} error={error} onChange={go} onAgain={() => void refetch()} />
      <SumsTabs search={search} />
      <p className={`${s.sum} ${l.sum}`} role="status">
        {data && (
          <span>
            {plural(timed, 'exchange')} with a duration
            {data.sampled && ' · sampled traffic: each that was kept counts once'}
            {data.partial && <b className="tone-attention"> · at least: {data.partial_reason}</b>}
          </span>
        )}
        {(isPlaceholderData || (isFetching && !data)) && <span className="late"> Counting …</span>}
      </p>
      {error && data && <p className={s.note}>Below is the answer before. {error.message}</p>}
      {data && timed === 0 && (
        <p className={s.note}>
          No exchange {q ? <>that matches <code>{q}</code></> : ''} has a duration in this range. <Link to="/" search={{ ...(search.from ? { from: search.from } : {}), ...(search.to ? { to: search.to } : {}), ...(q ? { q } : {}) }}>Traffic</Link> shows what there was.
        </p>
      )}
      {data && timed > 0 && (
        <>
          <Heatmap counts={data} box={box} onBox={onBox} zone={zone} stale={isPlaceholderData} />
          {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a scrolling region must be reachable by the keyboard */}
          <div className={`${t.scroll} ${l.below}`} role="region" aria-label="Durations in numbers" tabIndex={0}>
            <section aria-label="By duration">
              <Summary counts={data} box={box} onBox={onBox} />
            </section>
            <section aria-label="What is different" className={l.different}>
              {box ? (
                <>
                  <div className={l.head}>
                    <h2>What is different in here</h2>
                    <span role="status">
                      {short(box.from)} – {short(box.to)}, {durationsText(box)}
                      {ranking.data && !ranking.isPlaceholderData && `: ${plural(ranking.data.inside, 'exchange')}`}
                    </span>
                    <Link to="/" search={{ from: box.from, to: box.to, q: addClause(q, durationClause(box)) }} className="btn">
                      Show them
                    </Link>
                    <button type="button" className="btn bare" onClick={() => onBox(null)}>
                      Let go
                    </button>
                  </div>
                  {ranking.error && <p className="tone-bad" role="alert">{ranking.error.message}</p>}
                  {ranking.data?.partial && <p className="tone-attention">Not all fields were compared: {ranking.data.partial_reason}.</p>}
                  {ranking.data && (
                    <ValueMenus onFilter={(clause) => go({ q: addClause(q, clause) })}>
                      <div data-stale={ranking.isPlaceholderData || undefined} className={l.ranking}>
                        <Ranking ranking={ranking.data} />
                      </div>
                    </ValueMenus>
                  )}
                  {!ranking.data && !ranking.error && <p className="late muted">Comparing …</p>}
                </>
              ) : (
                <p className={`muted ${l.invite}`}>Select a box in the picture, or a line of the table: here stands what the exchanges in it have more often than all others, such as one pod, one client or one endpoint.</p>
              )}
            </section>
          </div>
        </>
      )}
    </main>
  );
}
