import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { auditCheckQuery, auditQuery } from '../api/manage';
import type { AuditCheck, AuditEvent } from '../api/types';
import { CopyButton } from '../components/CopyButton';
import { Icon, type IconName } from '../components/Icon';
import { NeedsRole } from '../components/NeedsRole';
import t from '../components/Table.module.css';
import { formatCount, formatMoment, plural } from '../lib/format';
import { usePrefs } from '../lib/prefs';
import { useMay } from '../lib/session';
import { parseMs } from '../lib/time';
import { useKeys } from '../lib/use-keys';
import { useTitle } from '../lib/use-title';
import { visibleText } from '../lib/visible';
import s from './Manage.module.css';

const looks: Readonly<Record<AuditEvent['result'], { icon: IconName; tone: string }>> = {
  ok: { icon: 'check', tone: 'tone-ok' },
  denied: { icon: 'lock', tone: 'tone-attention' },
  failed: { icon: 'cross', tone: 'tone-bad' },
};

/** Who did what, newest first, and whether the log is as it was written. */
export function Audit() {
  useTitle('Audit log · Weir');
  const may = useMay('admin');
  const { data, error, fetchNextPage, hasNextPage, isFetchingNextPage, refetch, isFetching } = useInfiniteQuery({ ...auditQuery, enabled: may });
  const check = useQuery(auditCheckQuery);
  const events = data?.pages.flatMap((p) => p.events) ?? [];
  const verify = () => void check.refetch();
  useKeys({ v: () => (may ? verify() : false), r: () => (may ? void refetch() : false) });
  return (
    <main className={s.page}>
      <div className={s.bar}>
        <h1>Audit log</h1>
        <span className={s.space} />
        {may && (
          <>
            <button type="button" className="btn" onClick={() => void refetch()} disabled={isFetching} title="Read it again (r)">
              <Icon name="loop" size={12} /> Read again
            </button>
            <button type="button" className="btn" onClick={verify} disabled={check.isFetching} title="Check that nothing was changed, taken out, moved or cut off (v)">
              <Icon name="shield" size={12} /> {check.isFetching ? 'Verifying …' : 'Verify'}
            </button>
          </>
        )}
      </div>
      {!may && <NeedsRole least="admin" what="The audit log" />}
      {check.data && <Verdict check={check.data} />}
      {(check.error ?? error) && (
        <p role="alert" className={`${s.note} tone-bad`}>
          {(check.error ?? error)?.message}
        </p>
      )}
      {may && !data && !error && <p className={`${s.note} muted late`}>Loading …</p>}
      {data && events.length === 0 && <p className={s.note}>Nothing was written down yet.</p>}
      {events.length > 0 && <Events events={events} />}
      {hasNextPage && (
        <p className={s.more}>
          <button type="button" className="btn" onClick={() => void fetchNextPage()} disabled={isFetchingNextPage}>
            {isFetchingNextPage ? 'Loading …' : 'Older'}
          </button>
        </p>
      )}
    </main>
  );
}

function Verdict({ check }: { check: AuditCheck }) {
  return (
    <div className={s.verdict} role="status" data-testid="audit-verdict">
      <span className={check.intact ? 'tone-ok' : 'tone-bad'}>
        <Icon name={check.intact ? 'check' : 'cross'} />
      </span>
      <b>{check.intact ? `Intact: ${plural(check.events, 'event')} as they were written` : 'Not as it was written'}</b>
      {!check.intact && (
        <span>
          {visibleText(check.problem)}
          {check.at > 0 && ` (event ${formatCount(check.at)})`}
        </span>
      )}
      {check.head && (
        <span className="muted">
          Newest hash <code>{visibleText(check.head).slice(0, 16)}…</code> <CopyButton text={check.head} what="the hash of the newest event" />
          Kept elsewhere, it shows later that nothing before it was changed.
        </span>
      )}
    </div>
  );
}

function Events({ events }: { events: readonly AuditEvent[] }) {
  const { zone } = usePrefs();
  return (
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a scrolling region must be reachable by the keyboard
    <div className={t.scroll} role="region" aria-label="Events" tabIndex={0}>
      <table className={t.table} aria-label="Events of the audit log, newest first">
        <thead>
          <tr>
            <th scope="col">time</th>
            <th scope="col">who</th>
            <th scope="col">did</th>
            <th scope="col">result</th>
            <th scope="col">to</th>
            <th scope="col">from</th>
            <th scope="col">detail</th>
            <th scope="col" className={t.number}>
              no.
            </th>
          </tr>
        </thead>
        <tbody>
          {events.map((e) => (
            <tr key={e.seq} data-result={e.result}>
              <td className="mono" title={e.time}>
                {formatMoment(parseMs(e.time), zone)}
              </td>
              <td>
                {e.name ? <b>{visibleText(e.name)}</b> : <span className="muted">nobody known</span>} {e.kind && e.kind !== 'user' && <span className="muted">{visibleText(e.kind)}</span>}
              </td>
              <td className="mono">{visibleText(e.action)}</td>
              <td>
                <span className={looks[e.result]?.tone}>
                  <Icon name={looks[e.result]?.icon ?? 'info'} size={12} />
                </span>{' '}
                {e.result}
              </td>
              <td className={`mono ${s.wrap}`}>{visibleText(e.target)}</td>
              <td className="mono">{visibleText(e.from)}</td>
              <td className={`${t.wide} ${s.wrap}`}>{visibleText(e.detail)}</td>
              <td className={t.number}>{formatCount(e.seq)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
