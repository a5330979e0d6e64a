import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useMemo } from 'react';
import { endpointsQuery } from '../api/queries';
import type { Endpoint, Endpoints as Answer } from '../api/types';
import { AskBar } from '../components/AskBar';
import { Icon, type IconName } from '../components/Icon';
import { SumsTabs } from '../components/SumsTabs';
import t from '../components/Table.module.css';
import { changeOf, endpointClauses, endpointKey, endpointSorts, errorShare, type Change, type EndpointSort } from '../lib/endpoints';
import { exactDuration, exactSize, formatAgo, formatCount, formatDuration, formatMoment, formatSize, plural } from '../lib/format';
import { formatRate, formatShare } from '../lib/format';
import { usePrefs } from '../lib/prefs';
import { addClause } from '../lib/query';
import { rangeLabel, type Range } from '../lib/range';
import { searchRange, type SumsSearch } from '../lib/search';
import { parseMs } from '../lib/time';
import { useNow } from '../lib/use-now';
import { useTitle } from '../lib/use-title';
import { visibleText } from '../lib/visible';
import s from './Sums.module.css';

const route = getRouteApi('/endpoints');

const columns: readonly { sort: EndpointSort; label: string; means: string; number?: boolean }[] = [
  { sort: 'endpoint', label: 'endpoint', means: 'Method and path, with its variable parts as {id}' },
  { sort: 'app', label: 'app', means: 'Who answers' },
  { sort: 'pairs', label: 'rate', means: 'Exchanges in a time', number: true },
  { sort: 'errors', label: 'errors', means: 'Status 5xx, or none', number: true },
  { sort: 'p50', label: 'p50', means: 'Half of them took no longer', number: true },
  { sort: 'p95', label: 'p95', means: '95 of 100 took no longer', number: true },
  { sort: 'p99', label: 'p99', means: '99 of 100 took no longer', number: true },
  { sort: 'sent', label: 'request', means: 'Mean size of a request body', number: true },
  { sort: 'received', label: 'response', means: 'Mean size of a response body', number: true },
  { sort: 'last', label: 'last seen', means: 'When the newest one began', number: true },
];

const changes: Readonly<Record<Change, { icon: IconName; tone: string; text: string; means: string }>> = {
  new: { icon: 'info', tone: 'tone-redirect', text: 'new', means: 'Not seen in as much time before this range' },
  failing: { icon: 'cross', tone: 'tone-bad', text: 'failing more', means: 'At least twice the errors of as much time before this range' },
  slower: { icon: 'triangle', tone: 'tone-attention', text: 'slower', means: 'p95 is at least 1.5 times that of as much time before this range' },
};

const minuteMs = 60_000;

/** As much time before a range, in whole minutes, so that it is asked for once a minute; null where the range has no start. */
function before(answer: Answer | undefined): Range | null {
  const from = parseMs(answer?.from ?? '');
  if (Number.isNaN(from)) return null;
  const to = answer?.to ? parseMs(answer.to) : Date.now();
  const start = Math.floor(from / minuteMs) * minuteMs;
  const long = Math.max(minuteMs, Math.ceil((to - from) / minuteMs) * minuteMs);
  return { from: new Date(start - long).toISOString(), to: new Date(start).toISOString() };
}

/** Each endpoint of the traffic: how often, how fast, how well, and what is not as it was. */
export function Endpoints() {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const { zone } = usePrefs();
  const now = useNow(1000);
  const q = search.q ?? '';
  const range = useMemo(() => searchRange(search), [search]);
  const go = (change: SumsSearch) => void navigate({ search: (old) => ({ ...old, ...change }) });
  const { data, error, isFetching, isPlaceholderData, refetch } = useQuery(endpointsQuery(q, range));

  const earlier = before(data);
  const was = useQuery(endpointsQuery(q, earlier ?? range, earlier !== null && !data?.partial));
  const known = useMemo(() => new Map(was.data?.endpoints.map((e) => [endpointKey(e), e])), [was.data]);
  // With nothing before, everything would be new.
  const compared = earlier !== null && !was.isPlaceholderData && known.size > 0 && !was.data?.more && !was.data?.partial;

  const sort: EndpointSort = search.sort && search.sort in endpointSorts ? (search.sort as EndpointSort) : 'pairs';
  const rows = useMemo(() => (data?.endpoints ?? []).toSorted(endpointSorts[sort]), [data, sort]);
  const label = rangeLabel(range, zone, now).toLowerCase();
  useTitle(`Endpoints · ${q ? `${q} · ` : ''}${label} · Weir`);

  const seconds = secondsOf(data, rows, now);
  return (
    <main className={s.page}>
      <h1 className="sr">Endpoints</h1>
      <AskBar q={q} range={range} error={error} onChange={go} onAgain={() => void refetch()} />
      <SumsTabs search={search} />
      <p className={s.sum} role="status">
        {data && (
          <span>
            {data.more ? 'The ' : ''}
            {plural(rows.length, 'endpoint')}
            {data.more ? ' with most traffic' : ''}
            {!data.exact && <span title="More exchanges than are ranked one by one: each percentile is within 2 %"> · percentiles within 2 %</span>}
            {data.sampled && ' · sampled traffic: rates are of what was kept'}
            {data.partial && <b className="tone-attention"> · at least: {data.partial_reason}</b>}
          </span>
        )}
        {(isPlaceholderData || (isFetching && !data)) && <span className="late"> Counting …</span>}
      </p>
      {error && data && <p className={s.note}>Below is the answer before. {error.message}</p>}
      {data && rows.length === 0 && (
        <p className={s.note}>
          No exchange {q ? <>matches <code>{q}</code></> : 'was captured'} in this range. <Link to="/" search={{ ...(q ? { q } : {}), ...at(search) }}>Traffic</Link> says what hides it.
        </p>
      )}
      {rows.length > 0 && (
        // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a scrolling region must be reachable by the keyboard
        <div className={`${t.scroll} ${s.scroll}`} role="region" aria-label="Endpoints" tabIndex={0} data-stale={isPlaceholderData || undefined}>
          <table className={t.table} aria-label={`Endpoints by ${columns.find((c) => c.sort === sort)?.label}`}>
            <thead>
              <tr>
                {columns.map((c) => (
                  <th key={c.sort} scope="col" className={c.number ? t.number : undefined} aria-sort={c.sort === sort ? (c.number ? 'descending' : 'ascending') : undefined}>
                    <button type="button" className={s.sort} title={c.means} onClick={() => go({ sort: c.sort === 'pairs' ? undefined : c.sort })}>
                      {c.label}
                      {c.sort === sort && <Icon name="chevron" size={10} />}
                    </button>
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.map((e) => (
                <Line key={endpointKey(e)} e={e} seconds={seconds} now={now} change={compared ? changeOf(e, known.get(endpointKey(e))) : null} search={search} />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </main>
  );
}

/** The range of a search, to take along. */
function at(search: SumsSearch): SumsSearch {
  return { ...(search.from ? { from: search.from } : {}), ...(search.to ? { to: search.to } : {}) };
}

/** How long a range is; where it has no start, from the first that was seen. */
function secondsOf(data: Answer | undefined, rows: readonly Endpoint[], now: number): number {
  const from = data?.from ? parseMs(data.from) : Math.min(...rows.map((e) => parseMs(e.first ?? '')).filter((ms) => !Number.isNaN(ms)));
  const to = data?.to ? parseMs(data.to) : now;
  return Math.max(1, (to - from) / 1000);
}

function Line({ e, seconds, now, change, search }: { e: Endpoint; seconds: number; now: number; change: Change | null; search: SumsSearch }) {
  const { zone } = usePrefs();
  const share = errorShare(e);
  const look = change ? changes[change] : null;
  const last = parseMs(e.last ?? '');
  const show = (...more: string[]) => ({ ...at(search), q: [...endpointClauses(e), ...more].reduce(addClause, search.q ?? '') });
  return (
    <tr data-endpoint={`${e.method} ${e.endpoint}`}>
      <td className={s.name}>
        <Link to="/" search={show()} className={s.link} title={visibleText(`${e.method} ${e.endpoint}`)}>
          <span className={s.method}>{visibleText(e.method) || '–'}</span>
          <span className="mono">{visibleText(e.endpoint) || '–'}</span>
        </Link>
        {look && (
          <span className={`${s.badge} ${look.tone}`} title={look.means}>
            <Icon name={look.icon} size={11} /> {look.text}
          </span>
        )}
      </td>
      <td title={visibleText(e.host)}>{visibleText(e.app || e.host) || '–'}</td>
      <td className={t.number} title={plural(e.pairs, 'exchange')}>
        {formatRate(e.pairs / seconds)}
      </td>
      <td className={t.number} title={`${formatCount(e.errors)} of ${formatCount(e.pairs)}`}>
        {e.errors > 0 ? (
          <Link to="/" search={show('(status:5xx OR error:*)')} className={share > 0.05 ? 'tone-bad' : 'tone-attention'}>
            <Icon name={share > 0.05 ? 'cross' : 'triangle'} size={10} /> {formatShare(share)}
          </Link>
        ) : (
          <span className="muted">0 %</span>
        )}
      </td>
      {[e.p50_ns, e.p95_ns, e.p99_ns].map((ns, i) => (
        // oxlint-disable-next-line react/no-array-index-key -- the three are always the same
        <td key={i} className={t.number} title={exactDuration(ns)}>
          {formatDuration(ns)}
        </td>
      ))}
      {[e.request_bytes / e.pairs, e.response_bytes / e.pairs].map((bytes, i) => (
        // oxlint-disable-next-line react/no-array-index-key -- the two are always the same
        <td key={i} className={t.number} title={exactSize(Math.round(bytes))}>
          {formatSize(Math.round(bytes))}
        </td>
      ))}
      <td className={t.number} title={formatMoment(last, zone)}>
        {Number.isNaN(last) ? '–' : formatAgo(last, now)}
      </td>
    </tr>
  );
}
