import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useMemo, useRef } from 'react';
import { errorsQuery } from '../api/queries';
import type { ErrorGroup, ErrorGroups } from '../api/types';
import { AskBar } from '../components/AskBar';
import { Icon, type IconName } from '../components/Icon';
import { Spark } from '../components/Spark';
import t from '../components/Table.module.css';
import { Value, ValueMenus } from '../components/ValueMenu';
import { compareErrors, errorSorts, timeBefore, type ErrorSort, type Novelty } from '../lib/errors';
import { formatAgo, formatCount, formatMoment, formatShort, plural, sentence } from '../lib/format';
import { usePrefs } from '../lib/prefs';
import { addClause, quoteValue } from '../lib/query';
import { rangeLabel } from '../lib/range';
import { searchRange, type ErrorsSearch, type TrafficSearch } from '../lib/search';
import { parseMs } from '../lib/time';
import { useKeys } from '../lib/use-keys';
import { useNow } from '../lib/use-now';
import { useTitle } from '../lib/use-title';
import { visibleText } from '../lib/visible';
import e from './Errors.module.css';
import s from './Sums.module.css';

const route = getRouteApi('/errors');

const columns: readonly { sort?: ErrorSort; label: string; means: string; number?: boolean }[] = [
  { sort: 'said', label: 'what it says', means: 'Without numbers, ids and quoted words; the same side by side' },
  { sort: 'status', label: 'status', means: 'The highest first' },
  { sort: 'where', label: 'where', means: 'Method and endpoint' },
  { sort: 'app', label: 'app', means: 'Who answered' },
  { sort: 'pairs', label: 'exchanges', means: 'The most frequent first', number: true },
  { label: 'over time', means: 'From the start of the range to its end' },
  { sort: 'first', label: 'first', means: 'The oldest of this range; the latest to begin first', number: true },
  { sort: 'last', label: 'last', means: 'The newest; the latest first', number: true },
  { label: 'example', means: 'The newest exchange' },
];

const novelties: Readonly<Record<Novelty, { icon: IconName; tone: string; means: string }>> = {
  new: { icon: 'info', tone: 'tone-bad', means: 'Not seen in as much time before this range' },
  gone: { icon: 'check', tone: 'tone-ok', means: 'Seen in as much time before this range, and not since' },
};

/** What fails, by what it says: what is new, what is gone, and the way to the exchanges. */
export function Errors() {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const { zone } = usePrefs();
  const now = useNow(1000);
  const body = useRef<HTMLTableSectionElement>(null);
  const q = search.q ?? '';
  const clientErrors = search.with === '4xx';
  const range = useMemo(() => searchRange(search), [search]);
  const go = (change: ErrorsSearch) => void navigate({ search: (old) => ({ ...old, ...change }) });
  const { data, error, isFetching, isPlaceholderData, refetch } = useQuery(errorsQuery(q, range, clientErrors));

  // All that is stored has no time before it.
  const earlier = data && range.from !== 'all' ? timeBefore(data) : null;
  const was = useQuery(errorsQuery(q, earlier ?? range, clientErrors, earlier !== null && !isPlaceholderData));
  const novel = useMemo(
    () => (data && earlier !== null && !isPlaceholderData && !was.isPlaceholderData ? compareErrors(data, was.data) : null),
    [data, earlier, isPlaceholderData, was.data, was.isPlaceholderData],
  );

  const sort: ErrorSort = search.sort && search.sort in errorSorts ? (search.sort as ErrorSort) : 'pairs';
  const rows = useMemo(() => (data?.groups ?? []).toSorted(errorSorts[sort]), [data, sort]);
  useTitle(`Errors · ${q ? `${q} · ` : ''}${rangeLabel(range, zone, now).toLowerCase()} · Weir`);
  const step = (by: number) => () => {
    const links = [...(body.current?.querySelectorAll<HTMLElement>('a[data-group]') ?? [])];
    const at = links.findIndex((link) => link === document.activeElement);
    const next = links[at < 0 ? (by > 0 ? 0 : links.length - 1) : Math.min(links.length - 1, Math.max(0, at + by))];
    next?.focus();
    return next !== undefined;
  };
  useKeys({ j: step(1), k: step(-1), ArrowDown: step(1), ArrowUp: step(-1) });

  const at: TrafficSearch = { ...(search.from ? { from: search.from } : {}), ...(search.to ? { to: search.to } : {}) };
  const line = (g: ErrorGroup, novelty: Novelty | null) => (
    <Line key={g.key} g={g} novelty={novelty} now={now} at={novelty === 'gone' && earlier ? { from: earlier.from, ...(earlier.to ? { to: earlier.to } : {}) } : at} />
  );
  return (
    <main className={s.page}>
      <h1 className="sr">Errors</h1>
      <AskBar q={q} range={range} error={error} onChange={go} onAgain={() => void refetch()} />
      <div className={`${s.sum} ${e.sum}`}>
        <button type="button" className="btn" aria-pressed={clientErrors} onClick={() => go({ with: clientErrors ? undefined : '4xx' })} title="Also what the analyzer counts as the client's mistake">
          4xx too
        </button>
        <span role="status">
          {data && <Summary data={data} fresh={novel?.fresh.size} gone={novel?.gone.length} />}
          {(isPlaceholderData || (isFetching && !data)) && <span className="late"> Counting …</span>}
        </span>
      </div>
      {error && data && <p className={s.note}>Below is the answer before. {error.message}</p>}
      {data && rows.length + (novel?.gone.length ?? 0) === 0 && (
        <p className={s.note}>
          Nothing {q ? <>that matches <code>{q}</code> </> : ''}failed in this range: no status 5xx{clientErrors ? ' or 4xx' : ''}, and no answer that is missing or cut.{' '}
          <Link to="/" search={{ ...at, ...(q ? { q } : {}) }}>Traffic</Link> shows what there was.
        </p>
      )}
      {rows.length + (novel?.gone.length ?? 0) > 0 && (
        <ValueMenus onFilter={(clause) => go({ q: addClause(q, clause) })}>
          {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a scrolling region must be reachable by the keyboard */}
          <div className={`${t.scroll} ${s.scroll}`} role="region" aria-label="Errors" tabIndex={0} data-stale={isPlaceholderData || undefined}>
            <table className={t.table} aria-label={`Errors by ${columns.find((c) => c.sort === sort)?.label}`}>
              <thead>
                <tr>
                  {columns.map((c) => (
                    <th key={c.label} scope="col" className={c.number ? t.number : undefined} aria-sort={c.sort === sort ? (c.number || c.sort === 'status' ? 'descending' : 'ascending') : undefined} title={c.sort ? undefined : c.means}>
                      {c.sort ? (
                        <button type="button" className={s.sort} title={c.means} onClick={() => go({ sort: c.sort === 'pairs' ? undefined : c.sort })}>
                          {c.label}
                          {c.sort === sort && <Icon name="chevron" size={10} />}
                        </button>
                      ) : (
                        c.label
                      )}
                    </th>
                  ))}
                </tr>
              </thead>
              <tbody ref={body}>
                {rows.map((g) => line(g, novel?.fresh.has(g.key) ? 'new' : null))}
                {novel?.gone.map((g) => line(g, 'gone'))}
              </tbody>
            </table>
          </div>
        </ValueMenus>
      )}
    </main>
  );
}

function Summary({ data, fresh, gone }: { data: ErrorGroups; fresh: number | undefined; gone: number | undefined }) {
  const kinds = new Set(data.groups.map((g) => `${g.status} ${g.template}`)).size;
  return (
    <>
      {data.more ? 'The most frequent: ' : ''}
      {plural(kinds, 'kind')} of error
      {kinds < data.groups.length && ` in ${plural(data.groups.length, 'place')}`}
      {fresh !== undefined && fresh > 0 && <b className="tone-bad"> · {formatCount(fresh)} new</b>}
      {gone !== undefined && gone > 0 && ` · ${formatCount(gone)} gone`}
      {data.content && data.read < data.read_of && <span title="A count with ~ is the part of those that were looked into, of all"> · the newest {formatCount(data.read)} of {formatCount(data.read_of)} bodies were looked into</span>}
      {!data.content && data.read_of > 0 && <span className="tone-private"> · <Icon name="eye-off" size={12} /> by status only: what bodies say needs the role investigator</span>}
      {data.sampled && ' · sampled traffic: counts are of what was kept'}
      {data.more && data.partial && <b className="tone-attention"> · {sentence(data.partial_reason)}</b>}
    </>
  );
}

const toneOf = (status: number): 'bad' | 'attention' => (status >= 400 && status < 500 ? 'attention' : 'bad');

function Line({ g, novelty, now, at }: { g: ErrorGroup; novelty: Novelty | null; now: number; at: TrafficSearch }) {
  const { zone } = usePrefs();
  const look = novelty ? novelties[novelty] : null;
  const [first, last] = [parseMs(g.first), parseMs(g.last)];
  const said = visibleText(g.template) || 'no words';
  const count = `${g.exact ? '' : '~'}${formatCount(g.pairs)}`;
  const tone = toneOf(g.status);
  return (
    <tr data-key={g.key} data-gone={novelty === 'gone' || undefined} className={e.row}>
      <td className={e.said}>
        <div>
          <Link to="/" search={{ ...at, q: g.query }} className={s.link} data-group={g.key} title={`${said}\nShow these exchanges`}>
            <span className={g.kind === 'status' ? 'muted' : undefined}>{said}</span>
          </Link>
          {look && (
            <span className={`${s.badge} ${look.tone}`} title={look.means}>
              <Icon name={look.icon} size={11} /> {novelty}
            </span>
          )}
        </div>
      </td>
      <td className={tone === 'bad' ? 'tone-bad' : 'tone-attention'}>
        <Icon name={tone === 'bad' ? 'cross' : 'triangle'} size={10} />{' '}
        {g.status === 0 ? 'none' : <Value value={String(g.status)} clause={`status:${g.status}`} name="status" />}
      </td>
      <td className={e.where} title={visibleText(`${g.method} ${g.endpoint}`)}>
        {g.endpoint ? (
          <Value value={g.endpoint} clause={`endpoint:${quoteValue(g.endpoint, true)}`} name="endpoint">
            <span className={s.method}>{visibleText(g.method)}</span> <span className="mono">{visibleText(g.endpoint)}</span>
          </Value>
        ) : (
          '–'
        )}
      </td>
      <td>{g.app ? <Value value={g.app} clause={`app:${quoteValue(g.app)}`} name="app" /> : '–'}</td>
      <td className={t.number} title={g.exact ? plural(g.pairs, 'exchange') : `About ${plural(g.pairs, 'exchange')}: ${formatCount(g.read)} of the bodies that were looked into say so`}>
        {count}
      </td>
      <td>
        <Spark steps={g.steps} tone={tone} title={`${count} from ${formatShort(first, zone, now)} to ${formatShort(last, zone, now)}`} />
      </td>
      <td className={t.number} title={formatMoment(first, zone)}>
        {g.exact ? '' : '≤ '}
        {formatAgo(first, now)}
      </td>
      <td className={t.number} title={formatMoment(last, zone)}>
        {formatAgo(last, now)}
      </td>
      <td>
        {g.example && (
          <Link to="/pairs/$id" params={{ id: g.example }} aria-label={`open an example of: ${said}`}>
            open
          </Link>
        )}
      </td>
    </tr>
  );
}
