import { useInfiniteQuery } from '@tanstack/react-query';
import { fetchPage } from '../../api/queries';
import type { Pair, PairSummary } from '../../api/types';
import { exactDuration, formatClock, formatCount, formatDuration, formatMoment, plural } from '../../lib/format';
import { usePrefs } from '../../lib/prefs';
import { formatNs, parseMs, parseNs } from '../../lib/time';
import { connectionQuery, relatedTo } from '../../lib/traces';
import { visibleText } from '../../lib/visible';
import { Icon } from '../Icon';
import { Status } from '../Status';
import { Value } from '../ValueMenu';
import { quoteValue } from '../../lib/query';
import c from './Connection.module.css';
import s from './Detail.module.css';

const second = 1_000_000_000n;

/** From when on the connection can have had exchanges: when it was accepted, or a day before this one. */
function since(pair: Pair): string {
  const accepted = parseNs(pair.timing.accepted);
  const time = parseNs(pair.time) ?? 0n;
  return formatNs((accepted ?? time - 86_400n * second) - second);
}

interface Props {
  pair: Pair;
  onShow: (q: string) => void;
  onOpen: (id: string) => void;
}

/** The connection that carried the pair, and what else it carried, in order. */
export function ConnectionView({ pair, onShow, onOpen }: Props) {
  const { zone } = usePrefs();
  const range = { from: since(pair) };
  const { data, error, hasNextPage, fetchNextPage, isFetchingNextPage, refetch } = useInfiniteQuery({
    queryKey: ['connection', pair.pod, pair.conn, pair.client, range.from],
    queryFn: ({ client, pageParam, signal }) => fetchPage(client, connectionQuery(pair), range, pageParam ? { cursor: pageParam } : {}, signal),
    initialPageParam: '',
    getNextPageParam: (last) => last.next_cursor ?? undefined,
    staleTime: 5000,
  });
  const rows = (data?.pages ?? []).flatMap((page) => page.pairs).toSorted((a, b) => a.seq - b.seq);
  const accepted = parseMs(pair.timing.accepted);
  return (
    <>
      <div className={`${s.section} ${s.links}`}>
        {relatedTo(pair).map(({ what, q }) => (
          <button key={what} type="button" className="btn" onClick={() => onShow(q)} title={visibleText(q)}>
            <Icon name="filter" size={12} />
            Everything {what}
          </button>
        ))}
      </div>
      <dl className={`${s.section} ${s.grid}`}>
        <dt>Client</dt>
        <dd>
          <Value value={pair.client} name="client" clause={`client:${quoteValue(pair.client)}`} />
        </dd>
        <dt>Server</dt>
        <dd>
          <Value value={pair.server} name="server" clause={`server:${quoteValue(pair.server)}`} />
        </dd>
        <dt>Number</dt>
        <dd>
          <span>
            {formatCount(pair.conn)} <span className="muted">of {visibleText(pair.pod)}</span>
          </span>
        </dd>
        <dt>Accepted</dt>
        <dd title={pair.timing.accepted ?? undefined}>{Number.isNaN(accepted) ? <span className="muted">not seen</span> : formatMoment(accepted, zone)}</dd>
        <dt>Place on it</dt>
        <dd>{pair.seq === 0 ? 'first: it was opened for this exchange' : `exchange ${formatCount(pair.seq + 1)}: it was used again`}</dd>
      </dl>
      {error ? (
        <div className={s.note}>
          <p className="tone-bad">{error.message}</p>
          <button type="button" className="btn" onClick={() => void refetch()}>
            Try again
          </button>
        </div>
      ) : !data ? (
        <p className={`${s.note} muted late`}>Looking for what else it carried …</p>
      ) : (
        <>
          <p className={s.sub}>
            {hasNextPage ? 'The newest ' : ''}
            {plural(rows.length, 'exchange')} on it, in order
            {data.pages.some((page) => page.partial) && ' (at least: a limit was reached)'}
          </p>
          <table className={c.table} aria-label="Exchanges on this connection">
            <thead>
              <tr>
                <th scope="col">no.</th>
                <th scope="col">time</th>
                <th scope="col">request</th>
                <th scope="col">status</th>
                <th scope="col" className={c.number}>
                  idle before
                </th>
                <th scope="col" className={c.number}>
                  duration
                </th>
              </tr>
            </thead>
            <tbody>
              {rows.map((row, i) => (
                <tr key={row.id} className={row.id === pair.id ? s.current : undefined} aria-current={row.id === pair.id || undefined}>
                  <td>{formatCount(row.seq + 1)}</td>
                  <td title={row.time}>{formatClock(parseMs(row.time), zone)}</td>
                  <td>
                    {row.id === pair.id ? (
                      <b>{requestOf(row)}</b>
                    ) : (
                      <button type="button" className={c.open} onClick={() => onOpen(row.id)}>
                        {requestOf(row)}
                      </button>
                    )}
                  </td>
                  <td>
                    <Status status={row.status} flags={row.flags} error={row.error} />
                  </td>
                  <td className={c.number}>{formatDuration(idle(rows[i - 1], row))}</td>
                  <td className={c.number} title={exactDuration(row.duration_ns)}>
                    {formatDuration(row.duration_ns)}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
          {hasNextPage && (
            <button type="button" className={`btn ${s.more}`} disabled={isFetchingNextPage} onClick={() => void fetchNextPage()}>
              Show earlier ones
            </button>
          )}
        </>
      )}
    </>
  );
}

function requestOf(row: PairSummary): string {
  return visibleText(row.method ? `${row.method} ${row.path}` : row.protocol);
}

/** From the end of one to the start of the next; null where the one before is not known. */
function idle(before: PairSummary | undefined, row: PairSummary): number | null {
  if (!before || before.seq + 1 !== row.seq || before.duration_ns === null) return null;
  const end = parseNs(before.time);
  const start = parseNs(row.time);
  return end === null || start === null ? null : Math.max(0, Number(start - end) - before.duration_ns);
}
