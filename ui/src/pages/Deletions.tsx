import { useQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi } from '@tanstack/react-router';
import { useState } from 'react';
import { sendJson } from '../api/client';
import { deletionsQuery } from '../api/manage';
import { rightQuery } from '../api/queries';
import type { Deletion } from '../api/types';
import { CopyButton } from '../components/CopyButton';
import { Form } from '../components/forms/Dialog';
import { Field } from '../components/forms/Field';
import { Icon } from '../components/Icon';
import { NeedsRole } from '../components/NeedsRole';
import t from '../components/Table.module.css';
import { formatCount, formatMoment, formatSize, plural } from '../lib/format';
import { usePrefs } from '../lib/prefs';
import { useMay } from '../lib/session';
import { parseMs } from '../lib/time';
import { useAct } from '../lib/use-act';
import { useTitle } from '../lib/use-title';
import { visibleText } from '../lib/visible';
import s from './Manage.module.css';

const route = getRouteApi('/deletions');

interface Wanted {
  q: string;
  from: string;
  to: string;
}

const bounds = ({ q, from, to }: Wanted) => ({ q, ...(from ? { from } : {}), ...(to ? { to } : {}) });

/** Stored pairs deleted for good: counted first, confirmed by the count, proven afterwards. */
export function Deletions() {
  useTitle('Deletions · Weir');
  const may = useMay('operator');
  const past = useQuery({ ...deletionsQuery, enabled: may });
  return (
    <main className={s.page}>
      <div className={s.bar}>
        <h1>Deletions</h1>
      </div>
      {may ? <Delete /> : <NeedsRole least="operator" what="Deleting stored pairs" />}
      {past.error && (
        <p role="alert" className={`${s.note} tone-bad`}>
          {past.error.message}
        </p>
      )}
      {past.data && past.data.length > 0 && <Past deletions={past.data} />}
      {past.data?.length === 0 && <p className={`${s.note} muted`}>Nothing was deleted by a query yet. What retention removes is not listed here.</p>}
    </main>
  );
}

function Delete() {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const client = useQueryClient();
  const wanted: Wanted = { q: search.q ?? '', from: search.from ?? '', to: search.to ?? '' };
  const [counted, setCounted] = useState<Deletion | null>(null);
  const [typed, setTyped] = useState('');
  const change = (part: Partial<Wanted>) => {
    setCounted(null);
    done.reset();
    void navigate({ search: (old) => ({ ...old, ...part }), replace: true });
  };
  const count = useAct(
    async () => {
      await rightQuery(client, wanted.q);
      return sendJson<Deletion>('POST', 'deletions', { ...bounds(wanted), dry_run: true });
    },
    { done: setCounted },
  );
  const done = useAct((confirm: number) => sendJson<Deletion>('POST', 'deletions', { ...bounds(wanted), confirm }), {
    // What is gone must not be shown from memory.
    stale: [deletionsQuery.queryKey, ['pair'], ['bytes'], ['info'], ['count'], ['newest']],
    done: () => {
      setCounted(null);
      setTyped('');
    },
  });
  return (
    <div className={s.work}>
      <Form label="Count what would be deleted" action="Count them" busy={count.isPending} error={count.error} disabled={wanted.q.trim() === ''} onSubmit={() => count.mutate(undefined)}>
        <Field label="Query" value={wanted.q} onChange={(q) => change({ q })} hint={<>Which pairs, as in Traffic: <code>app:checkout path:/users/42*</code></>} />
        <div className={s.range}>
          <Field label="From" value={wanted.from} onChange={(from) => change({ from })} hint="RFC 3339, or how long ago: 7d. Empty: the beginning." />
          <Field label="Until" value={wanted.to} onChange={(to) => change({ to })} hint="Not included. Empty: now." />
        </div>
      </Form>
      {counted && counted.matched === 0 && <p role="status">No stored pair matches.</p>}
      {counted && counted.matched > 0 && (
        <div className={s.found} role="status">
          <p>
            <b>{plural(counted.matched, 'pair matches', 'pairs match')}</b> <code>{visibleText(counted.query)}</code>. Deleting rewrites the files that hold them: the bytes are gone, and nothing brings them back but a backup.
          </p>
          <Form label="Delete them for good" action={`Delete ${plural(counted.matched, 'pair')} for good`} danger busy={done.isPending} error={done.error} disabled={typed.replace(/[,\s]/g, '') !== String(counted.matched)} onSubmit={() => done.mutate(counted.matched)} onCancel={() => setCounted(null)}>
            <Field label={`Type ${formatCount(counted.matched)} to confirm`} value={typed} onChange={setTyped} inputMode="numeric" autoComplete="off" />
          </Form>
        </div>
      )}
      {done.data && <Proof deletion={done.data} />}
    </div>
  );
}

function Proof({ deletion: d }: { deletion: Deletion }) {
  return (
    <div role="status" data-testid="deletion-proof">
      <p>
        <span className="tone-ok">
          <Icon name="check" />
        </span>{' '}
        <b>{plural(d.deleted, 'pair is', 'pairs are')} gone.</b> {plural(d.segments_rewritten, 'file was', 'files were')} written anew, {formatSize(d.bytes)} less.
      </p>
      {d.proof && (
        <pre className={s.proof}>
          {visibleText(d.proof)} <CopyButton text={d.proof} what="the proof" />
        </pre>
      )}
    </div>
  );
}

function Past({ deletions }: { deletions: readonly Deletion[] }) {
  const { zone } = usePrefs();
  return (
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a scrolling region must be reachable by the keyboard
    <div className={t.scroll} role="region" aria-label="Deletions" tabIndex={0}>
      <table className={t.table} aria-label="Deletions that were made, newest first">
        <thead>
          <tr>
            <th scope="col">time</th>
            <th scope="col">by</th>
            <th scope="col">query</th>
            <th scope="col" className={t.number}>
              deleted
            </th>
            <th scope="col" className={t.number}>
              files
            </th>
            <th scope="col" className={t.number}>
              less
            </th>
            <th scope="col">proof</th>
          </tr>
        </thead>
        <tbody>
          {deletions.map((d) => (
            <tr key={d.id}>
              <td className="mono" title={d.time}>
                {formatMoment(parseMs(d.time), zone)}
              </td>
              <td>{visibleText(d.by)}</td>
              <td className={`mono ${s.wrap}`}>{visibleText(d.query)}</td>
              <td className={t.number}>{formatCount(d.deleted)}</td>
              <td className={t.number}>{formatCount(d.segments_rewritten)}</td>
              <td className={t.number}>{formatSize(d.bytes)}</td>
              <td className={`${t.wide} ${s.wrap}`}>{visibleText(d.proof)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
