import { Menu } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { sendJson } from '../api/client';
import type { Session } from '../api/types';
import { notice } from '../lib/notice';
import { atLeast, scopeText } from '../lib/roles';
import { leaveForSignIn } from '../lib/session';
import { useAct } from '../lib/use-act';
import { visibleText } from '../lib/visible';
import { Dialog, Form } from './forms/Dialog';
import { PasswordField, shortestPassword } from './forms/Field';
import { Icon } from './Icon';
import m from './menu.module.css';
import s from './UserMenu.module.css';

const pages = [
  { to: '/keys', label: 'Keys', role: 'operator' },
  { to: '/deletions', label: 'Deletions', role: 'operator' },
  { to: '/users', label: 'Users', role: 'admin' },
  { to: '/audit', label: 'Audit log', role: 'admin' },
] as const;

/** Who is signed in, in which role, and the pages that are about access. */
export function UserMenu({ session }: { session: Session }) {
  const [changing, setChanging] = useState(false);
  const identity = session.identity;
  if (!identity) return null;
  const on = session.auth === 'on';
  const name = visibleText(identity.name);
  const signOut = async () => {
    try {
      await sendJson('DELETE', 'session');
      leaveForSignIn('/');
    } catch (error) {
      notice(error instanceof Error ? error.message : 'You could not be signed out');
    }
  };
  return (
    <>
      <Menu position="bottom-end" offset={4}>
        <Menu.Target>
          <button type="button" className={`btn bare ${on ? '' : 'icon'}`} aria-label={on ? `Signed in as ${name}, ${identity.role}` : 'Access'} title={on ? `${name}, ${identity.role}` : 'Keys, users, audit, deletions'}>
            <Icon name="user" />
            {on && (
              <span className={s.who}>
                {name} <span className="muted">{identity.role}</span>
              </span>
            )}
          </button>
        </Menu.Target>
        <Menu.Dropdown className={m.menu}>
          <Menu.Label className={m.label}>
            {on ? (
              <>
                {name} · {identity.role} · sees {visibleText(scopeText(identity.scope))}
              </>
            ) : (
              'Sign-in is off: everybody here is an admin'
            )}
          </Menu.Label>
          {pages.map(({ to, label, role }) => {
            const may = atLeast(identity.role, role);
            return (
              // Those that a role may not open say so there, instead of being gone.
              <Menu.Item key={to} className={m.item} component={Link} to={to} rightSection={may ? null : <span className={s.needs}>needs {role}</span>}>
                {label}
              </Menu.Item>
            );
          })}
          {on && identity.kind === 'user' && (
            <>
              {session.methods.includes('password') && (
                <Menu.Item className={m.item} onClick={() => setChanging(true)}>
                  Change my password
                </Menu.Item>
              )}
              <Menu.Item className={m.item} onClick={() => void signOut()}>
                Sign out
              </Menu.Item>
            </>
          )}
        </Menu.Dropdown>
      </Menu>
      {changing && <OwnPassword onClose={() => setChanging(false)} />}
    </>
  );
}

function OwnPassword({ onClose }: { onClose: () => void }) {
  const [old, setOld] = useState('');
  const [next, setNext] = useState('');
  const act = useAct(() => sendJson('POST', 'session/password', { old, new: next }), {
    done: () => {
      notice('The password is changed; other sessions of yours have ended');
      onClose();
    },
  });
  return (
    <Dialog title="Change my password" onClose={onClose} size={400}>
      <Form label="Change my password" action="Change it" busy={act.isPending} error={act.error} disabled={old === '' || next.length < shortestPassword} onSubmit={() => act.mutate()} onCancel={onClose}>
        <PasswordField label="Password until now" value={old} onChange={setOld} />
        <PasswordField label="New password" value={next} onChange={setNext} fresh />
        <p className="muted">It ends all your sessions but this one.</p>
      </Form>
    </Dialog>
  );
}
