import { useQueries, useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { countQuery, infoQuery, newestQuery } from '../api/queries';
import { formatAgo, formatShort, plural } from '../lib/format';
import { usePrefs } from '../lib/prefs';
import { appOf, clauses, wordOf } from '../lib/query';
import { rangeLabel, wider, type Range } from '../lib/range';
import { parseMs } from '../lib/time';
import { useNow } from '../lib/use-now';
import s from './EmptyState.module.css';
import { Icon } from './Icon';

interface Props {
  q: string;
  range: Range;
  onChange: (change: { q?: string; range?: Range }) => void;
}

/** Nothing matches: says whether the query or the range hides it, and offers to change either. */
export function NoResults({ q, range, onChange }: Props) {
  const { zone } = usePrefs();
  const now = useNow(10_000);
  const { data: info } = useQuery(infoQuery);
  const inRange = useQuery(countQuery('', range, q !== ''));
  const newest = useQuery(newestQuery(q, true));
  const parts = clauses(q) ?? [];
  // Each clause left out in turn; more than a few would be a search of their own.
  const without = (parts.length > 1 ? parts.slice(0, 5) : []).map((clause, i) => ({
    clause,
    rest: parts.filter((_, j) => j !== i).join(' '),
  }));
  const counts = useQueries({ queries: without.map((w) => countQuery(w.rest, range, true)) });

  const latest = newest.data?.pairs[0];
  const nowhere = newest.data !== undefined && !latest && !newest.data.partial;
  const latestMs = parseMs(latest?.time);
  const next = wider(range);
  const oldest = parseMs(info?.oldest);
  const to = range.to ? parseMs(range.to) : now;
  return (
    <div className={s.page}>
      <h1>No pair matches</h1>
      <div className={s.list}>
        {q !== '' && inRange.data && (
          <p>
            {inRange.data.total > 0
              ? `The query leaves out all ${inRange.data.partial ? 'of at least ' : ''}${plural(inRange.data.total, 'pair')} of this range (${rangeLabel(range, zone, now).toLowerCase()}).`
              : `Nothing at all was captured in this range (${rangeLabel(range, zone, now).toLowerCase()}).`}
          </p>
        )}
        {q === '' && <p>Nothing was captured in this range ({rangeLabel(range, zone, now).toLowerCase()}).</p>}
        {to < oldest && <p>What is stored begins later, at {formatShort(oldest, zone, now)}.</p>}
        {latest && (
          <p>
            The newest pair {q === '' ? 'that is stored' : 'that matches the query'} is from {formatShort(latestMs, zone, now)} ({formatAgo(latestMs, now)}).
          </p>
        )}
        {nowhere && q !== '' && <p>No stored pair matches this query, at any time.</p>}
      </div>
      <div className={s.why}>
        {q !== '' && (
          <button type="button" className="btn" onClick={() => onChange({ q: '' })}>
            Drop the query{inRange.data && inRange.data.total > 0 ? `: ${inRange.data.partial ? 'at least ' : ''}${plural(inRange.data.total, 'pair')}` : ''}
          </button>
        )}
        {without.map((w, i) => {
          const n = counts[i]?.data?.total ?? 0;
          return n > 0 ? (
            <button key={w.clause} type="button" className="btn" onClick={() => onChange({ q: w.rest })}>
              <span>
                Drop <code>{w.clause}</code>: {counts[i]?.data?.partial && 'at least '}
                {plural(n, 'pair')}
              </span>
            </button>
          ) : null;
        })}
        {next && !nowhere && (
          <button type="button" className="btn" onClick={() => onChange({ range: next })}>
            Widen to: {rangeLabel(next, zone, now).toLowerCase()}
          </button>
        )}
        {latest && (
          <button
            type="button"
            className="btn"
            onClick={() =>
              onChange({ range: { from: new Date(latestMs - 300_000).toISOString(), to: new Date(latestMs + 60_000).toISOString() } })
            }
          >
            Go to the newest that matches
          </button>
        )}
        <Link
          to="/ledger"
          className="btn"
          search={{
            path: wordOf(q, 'path'),
            method: wordOf(q, 'method'),
            app: appOf(q),
            ...(range.to ? { around: new Date((Number.isNaN(parseMs(range.from)) ? to : (parseMs(range.from) + to) / 2)).toISOString() } : {}),
          }}
        >
          <Icon name="search" size={12} /> Where did my request go?
        </Link>
      </div>
    </div>
  );
}
