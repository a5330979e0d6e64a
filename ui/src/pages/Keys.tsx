import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { sendJson } from '../api/client';
import { keysQuery } from '../api/manage';
import type { Key, MadeKey, NewKey, Role } from '../api/types';
import { Dialog, Form } from '../components/forms/Dialog';
import { Field, noScope, RoleField, ScopeField, textToScope } from '../components/forms/Field';
import f from '../components/forms/forms.module.css';
import { TakeAlong } from '../components/forms/Text';
import { RemoveDialog } from '../components/forms/RemoveDialog';
import { Icon } from '../components/Icon';
import { NeedsRole } from '../components/NeedsRole';
import t from '../components/Table.module.css';
import { formatAgo, formatMoment } from '../lib/format';
import { usePrefs, type Prefs } from '../lib/prefs';
import { scopeText } from '../lib/roles';
import { useIdentity, useMay } from '../lib/session';
import { parseMs } from '../lib/time';
import { useAct } from '../lib/use-act';
import { useKeys } from '../lib/use-keys';
import { useNow } from '../lib/use-now';
import { useTitle } from '../lib/use-title';
import { visibleText } from '../lib/visible';
import s from './Manage.module.css';

type Kind = Key['kind'];

const kinds: Readonly<Record<Kind, string>> = {
  api: 'programs that ask this analyzer: weir, scripts, dashboards',
  forwarder: 'a forwarder that sends pairs to this analyzer',
  proxy: 'a proxy, to a forwarder that asks its proxies for tokens',
};

const lifetimes: readonly (readonly [days: number, label: string])[] = [
  [30, '30 days'],
  [90, '90 days'],
  [365, 'a year'],
  [0, 'until it is revoked'],
];

/** Keys of programs, and tokens of forwarders and proxies. */
export function Keys() {
  useTitle('Keys · Weir');
  const may = useMay('operator');
  const { data, error } = useQuery({ ...keysQuery, enabled: may });
  const [adding, setAdding] = useState(false);
  const [revoking, setRevoking] = useState<Key | null>(null);
  useKeys({ n: () => (may ? setAdding(true) : false) });
  return (
    <main className={s.page}>
      <div className={s.bar}>
        <h1>Keys</h1>
        <span className={s.space} />
        {may && (
          <button type="button" className="btn" onClick={() => setAdding(true)} title="Make a key (n)">
            Make a key
          </button>
        )}
      </div>
      {!may && <NeedsRole least="operator" what="Seeing and making keys" />}
      {error && (
        <p role="alert" className={`${s.note} tone-bad`}>
          {error.message}
        </p>
      )}
      {may && !data && !error && <p className={`${s.note} muted late`}>Loading …</p>}
      {data?.length === 0 && <p className={s.note}>There is no key yet. A program shows one as “Authorization: Bearer weir_…”; a forwarder has its own in ANALYZER_TOKEN.</p>}
      {data && data.length > 0 && <KeyTable keys={data} onRevoke={setRevoking} />}
      {adding && <MakeKey onClose={() => setAdding(false)} />}
      {revoking && <RevokeKey which={revoking} onClose={() => setRevoking(null)} />}
    </main>
  );
}

/** What became of a key, in a word and a mark. */
function stateOf(key: Key, now: number, zone: Prefs['zone']): { text: string; over: boolean; title: string } {
  const expires = parseMs(key.expires_at);
  if (key.revoked_at) return { text: `revoked ${formatAgo(parseMs(key.revoked_at), now)}`, over: true, title: formatMoment(parseMs(key.revoked_at), zone) };
  if (key.expires_at && expires <= now) return { text: `expired ${formatAgo(expires, now)}`, over: true, title: formatMoment(expires, zone) };
  return { text: key.expires_at ? `good until ${formatMoment(expires, zone).slice(0, 10)}` : 'good until revoked', over: false, title: key.expires_at ? formatMoment(expires, zone) : '' };
}

function KeyTable({ keys, onRevoke }: { keys: readonly Key[]; onRevoke: (key: Key) => void }) {
  const now = useNow(30_000);
  const { zone } = usePrefs();
  return (
    <div className={t.scroll}>
      <table className={t.table} aria-label="Keys">
        <thead>
          <tr>
            <th scope="col">name</th>
            <th scope="col">kind</th>
            <th scope="col">role</th>
            <th scope="col">sees</th>
            <th scope="col">id</th>
            <th scope="col">made</th>
            <th scope="col">last used</th>
            <th scope="col">state</th>
            <th scope="col">
              <span className="sr">what to do</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {keys.map((key) => {
            const state = stateOf(key, now, zone);
            return (
              <tr key={key.id} className={state.over ? s.over : undefined} data-key={key.id}>
                <td>
                  <b>{visibleText(key.name)}</b>
                </td>
                <td>{key.kind}</td>
                <td>{key.role || '–'}</td>
                <td className={s.wrap}>{key.kind === 'api' ? visibleText(scopeText(key.scope)) : '–'}</td>
                <td className="mono">{visibleText(key.id)}</td>
                <td title={formatMoment(parseMs(key.created_at), zone)}>{formatAgo(parseMs(key.created_at), now)}</td>
                <td>{key.last_used_at ? formatAgo(parseMs(key.last_used_at), now) : 'never'}</td>
                <td title={state.title}>
                  <span className={state.over ? 'tone-attention' : 'tone-ok'}>
                    <Icon name={state.over ? 'lock' : 'dot'} size={12} />
                  </span>{' '}
                  {state.text}
                </td>
                <td>
                  <div className={s.actions}>
                    {!key.revoked_at && (
                      <button type="button" className="btn" aria-label={`Revoke ${visibleText(key.name)}`} onClick={() => onRevoke(key)}>
                        Revoke
                      </button>
                    )}
                  </div>
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

function MakeKey({ onClose }: { onClose: () => void }) {
  const me = useIdentity();
  const admin = useMay('admin');
  const [kind, setKind] = useState<Kind>(admin ? 'api' : 'forwarder');
  const [name, setName] = useState('');
  const [role, setRole] = useState<Role>('viewer');
  const [scope, setScope] = useState(noScope);
  const [days, setDays] = useState(90);
  const [made, setMade] = useState<MadeKey | null>(null);
  const act = useAct((key: NewKey) => sendJson<MadeKey>('POST', 'keys', key), { stale: [keysQuery.queryKey], done: setMade });
  const submit = () =>
    act.mutate({
      name: name.trim(),
      kind,
      ...(kind === 'api' ? { role, scope: textToScope(scope) } : {}),
      ...(days > 0 ? { expires_at: new Date(Date.now() + days * 86_400_000).toISOString() } : {}),
    });
  if (made) {
    return (
      <Dialog title={`The key ${visibleText(made.key.name)}`} onClose={onClose}>
        <div className={f.made}>
          <p>
            <b>This is the only time that it is shown.</b> The analyzer keeps a hash of it; whoever loses it makes another.
          </p>
          <TakeAlong text={made.secret} what="the key" label="The key" />
          <div className={f.actions}>
            <button type="button" className="btn" onClick={onClose}>
              I have it
            </button>
          </div>
        </div>
      </Dialog>
    );
  }
  return (
    <Dialog title="Make a key" onClose={onClose}>
      <Form label="Make a key" action="Make the key" busy={act.isPending} error={act.error} disabled={name.trim() === ''} onSubmit={submit} onCancel={onClose}>
        <Field label="Name" value={name} onChange={setName} hint="Of what will use it, so that it can be told apart later." autoComplete="off" data-autofocus />
        <fieldset className={f.choices}>
          <legend>For</legend>
          {(Object.keys(kinds) as Kind[]).map((k) => {
            const barred = k === 'api' && !admin;
            return (
              <label key={k}>
                <input type="radio" name="kind" value={k} checked={k === kind} disabled={barred} onChange={() => setKind(k)} />
                <span>
                  <b>{k}</b>{' '}
                  <span className="muted">
                    {kinds[k]}
                    {barred && '; needs role admin'}
                  </span>
                </span>
              </label>
            );
          })}
        </fieldset>
        {kind === 'api' && (
          <>
            <RoleField value={role} onChange={setRole} upTo={me?.role ?? 'admin'} />
            <ScopeField value={scope} onChange={setScope} />
          </>
        )}
        <fieldset className={f.choices}>
          <legend>Good for</legend>
          {lifetimes.map(([d, label]) => (
            <label key={d}>
              <input type="radio" name="days" value={d} checked={d === days} onChange={() => setDays(d)} />
              <span>{label}</span>
            </label>
          ))}
        </fieldset>
      </Form>
    </Dialog>
  );
}

function RevokeKey({ which, onClose }: { which: Key; onClose: () => void }) {
  return (
    <RemoveDialog verb="Revoke" done="Revoked" name={visibleText(which.name)} path={`keys/${encodeURIComponent(which.id)}`} stale={[keysQuery.queryKey]} onClose={onClose}>
      Whatever uses it is refused from now on, at the latest within 60 seconds.
      {which.kind === 'forwarder' && ' The forwarder keeps what it captures in its spool until it has another token.'} It cannot be made good again.
    </RemoveDialog>
  );
}
