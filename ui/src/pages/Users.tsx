import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { sendJson } from '../api/client';
import { usersQuery } from '../api/manage';
import type { NewUser, Role, User, UserChange } from '../api/types';
import { Dialog, Form } from '../components/forms/Dialog';
import { Field, noScope, PasswordField, RoleField, ScopeField, scopeToText, shortestPassword, textToScope } from '../components/forms/Field';
import { RemoveDialog } from '../components/forms/RemoveDialog';
import { Icon } from '../components/Icon';
import { NeedsRole } from '../components/NeedsRole';
import t from '../components/Table.module.css';
import { formatAgo, formatMoment } from '../lib/format';
import { notice } from '../lib/notice';
import { usePrefs } from '../lib/prefs';
import { scopeText } from '../lib/roles';
import { useIdentity, useMay } from '../lib/session';
import { parseMs } from '../lib/time';
import { useAct } from '../lib/use-act';
import { useKeys } from '../lib/use-keys';
import { useNow } from '../lib/use-now';
import { useTitle } from '../lib/use-title';
import { visibleText } from '../lib/visible';
import s from './Manage.module.css';

type Doing = { what: 'add' } | { what: 'change' | 'delete'; user: User } | null;

/** Everybody who may sign in, with what they may do and see. */
export function Users() {
  useTitle('Users · Weir');
  const may = useMay('admin');
  const { data, error } = useQuery({ ...usersQuery, enabled: may });
  const [doing, setDoing] = useState<Doing>(null);
  useKeys({ n: () => (may ? setDoing({ what: 'add' }) : false) });
  return (
    <main className={s.page}>
      <div className={s.bar}>
        <h1>Users</h1>
        <span className={s.space} />
        {may && (
          <button type="button" className="btn" onClick={() => setDoing({ what: 'add' })} title="Add a user (n)">
            Add a user
          </button>
        )}
      </div>
      {!may && <NeedsRole least="admin" what="Seeing and changing users" />}
      {error && (
        <p role="alert" className={`${s.note} tone-bad`}>
          {error.message}
        </p>
      )}
      {may && !data && !error && <p className={`${s.note} muted late`}>Loading …</p>}
      {data?.length === 0 && <p className={s.note}>Nobody can sign in yet. The link that the analyzer prints when it starts with AUTH=on makes the first admin; users that are made here can sign in then, too.</p>}
      {data && data.length > 0 && <UserTable users={data} onDo={setDoing} />}
      {doing?.what === 'add' && <AddUser onClose={() => setDoing(null)} />}
      {doing?.what === 'change' && <ChangeUser user={doing.user} onClose={() => setDoing(null)} />}
      {doing?.what === 'delete' && <DeleteUser user={doing.user} onClose={() => setDoing(null)} />}
    </main>
  );
}

function UserTable({ users, onDo }: { users: readonly User[]; onDo: (doing: Doing) => void }) {
  const me = useIdentity();
  const now = useNow(30_000);
  const { zone } = usePrefs();
  return (
    <div className={t.scroll}>
      <table className={t.table} aria-label="Users">
        <thead>
          <tr>
            <th scope="col">name</th>
            <th scope="col">role</th>
            <th scope="col">sees</th>
            <th scope="col">signs in with</th>
            <th scope="col">last sign-in</th>
            <th scope="col">
              <span className="sr">what to do</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {users.map((u) => {
            const last = parseMs(u.last_sign_in_at);
            const name = visibleText(u.name);
            return (
              <tr key={u.name} className={u.disabled ? s.over : undefined} data-user={u.name}>
                <td>
                  <b>{name}</b>
                  {me?.kind === 'user' && me.name === u.name && <span className="muted"> you</span>}
                </td>
                <td>
                  {u.role}
                  {u.disabled && (
                    <span className="tone-attention">
                      {' '}
                      <Icon name="lock" size={12} /> disabled
                    </span>
                  )}
                </td>
                <td className={s.wrap}>{visibleText(scopeText(u.scope))}</td>
                <td>{u.external ? 'the identity provider' : 'a password'}</td>
                <td title={formatMoment(last, zone)}>{u.last_sign_in_at ? formatAgo(last, now) : 'never'}</td>
                <td>
                  <div className={s.actions}>
                    <button type="button" className="btn" aria-label={`Change ${name}`} onClick={() => onDo({ what: 'change', user: u })}>
                      Change
                    </button>
                    <button type="button" className="btn" aria-label={`Delete ${name}`} onClick={() => onDo({ what: 'delete', user: u })}>
                      Delete
                    </button>
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

function AddUser({ onClose }: { onClose: () => void }) {
  const [name, setName] = useState('');
  const [password, setPassword] = useState('');
  const [role, setRole] = useState<Role>('viewer');
  const [scope, setScope] = useState(noScope);
  const act = useAct((user: NewUser) => sendJson('POST', 'users', user), {
    stale: [usersQuery.queryKey],
    done: (_, user) => {
      notice(`Added ${visibleText(user.name)}`);
      onClose();
    },
  });
  return (
    <Dialog title="Add a user" onClose={onClose}>
      <Form label="Add a user" action="Add the user" busy={act.isPending} error={act.error} disabled={name.trim() === '' || password.length < shortestPassword} onSubmit={() => act.mutate({ name: name.trim(), password, role, scope: textToScope(scope) })} onCancel={onClose}>
        <Field label="Name" value={name} onChange={setName} autoComplete="off" data-autofocus />
        <PasswordField label="First password" value={password} onChange={setPassword} fresh />
        <RoleField value={role} onChange={setRole} />
        <ScopeField value={scope} onChange={setScope} />
      </Form>
    </Dialog>
  );
}

function ChangeUser({ user, onClose }: { user: User; onClose: () => void }) {
  const name = visibleText(user.name);
  const [role, setRole] = useState<Role>(user.role);
  const [scope, setScope] = useState(scopeToText(user.scope));
  const [disabled, setDisabled] = useState(user.disabled);
  const [password, setPassword] = useState('');
  const act = useAct((change: UserChange) => sendJson('PATCH', `users/${encodeURIComponent(user.name)}`, change), {
    stale: [usersQuery.queryKey],
    done: () => {
      notice(`Changed ${name}`);
      onClose();
    },
  });
  const submit = () =>
    act.mutate({
      // A role that comes from the identity provider is its to say.
      ...(user.external ? {} : { role, scope: textToScope(scope) }),
      disabled,
      ...(password ? { password } : {}),
    });
  return (
    <Dialog title={`Change ${name}`} onClose={onClose}>
      <Form label={`Change ${name}`} action="Change the user" busy={act.isPending} error={act.error} disabled={password !== '' && password.length < shortestPassword} onSubmit={submit} onCancel={onClose}>
        {user.external ? (
          <p className="muted">Role and scope of {name} come from the identity provider’s groups.</p>
        ) : (
          <>
            <RoleField value={role} onChange={setRole} />
            <ScopeField value={scope} onChange={setScope} />
            <PasswordField label="New password, if it is to change" value={password} onChange={setPassword} fresh />
          </>
        )}
        <label>
          <input type="checkbox" checked={disabled} onChange={(e) => setDisabled(e.target.checked)} /> Disabled: cannot sign in
        </label>
        <p className="muted">Each change ends the sessions of {name}.</p>
      </Form>
    </Dialog>
  );
}

function DeleteUser({ user, onClose }: { user: User; onClose: () => void }) {
  const name = visibleText(user.name);
  return (
    <RemoveDialog verb="Delete" done="Deleted" name={name} path={`users/${encodeURIComponent(user.name)}`} stale={[usersQuery.queryKey]} onClose={onClose}>
      It ends the sessions of {name}, and removes the views that {name} saved. What {name} did stays in the audit log. To bar somebody for a while, disable them instead.
    </RemoveDialog>
  );
}
