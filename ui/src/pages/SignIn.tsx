import { useQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, useNavigate } from '@tanstack/react-router';
import { useEffect, useState } from 'react';
import { address, sendJson } from '../api/client';
import { sessionQuery } from '../api/manage';
import type { Session } from '../api/types';
import { Form } from '../components/forms/Dialog';
import { Field, PasswordField, shortestPassword } from '../components/forms/Field';
import { Icon } from '../components/Icon';
import { ThemeMenu } from '../components/ThemeMenu';
import { parseQueryString } from '../lib/search';
import { ownPath } from '../lib/session';
import { useAct } from '../lib/use-act';
import { useTitle } from '../lib/use-title';
import s from './SignIn.module.css';

const route = getRouteApi('/sign-in');

/** The token of the one-time link that the analyzer printed. It stands in the fragment, which is never sent anywhere. */
function setupToken(hash: string): string {
  return new URLSearchParams(hash.replace(/^#/, '')).get('setup') ?? '';
}

/** How a session begins: by password, with the identity provider, or by the link of the first start. */
export function SignIn() {
  useTitle('Sign in · Weir');
  const { to, error } = route.useSearch();
  const { data: session, error: unknown } = useQuery(sessionQuery);
  const client = useQueryClient();
  const navigate = useNavigate();
  const [token] = useState(() => setupToken(window.location.hash));
  useEffect(() => {
    // A secret has no business in the address bar or in the history.
    if (window.location.hash !== '') window.history.replaceState(window.history.state, '', window.location.pathname + window.location.search);
  }, []);
  const goOn = (next: Session) => {
    client.setQueryData(sessionQuery.queryKey, next);
    const back = new URL(ownPath(to), window.location.origin);
    void navigate({ to: back.pathname, search: parseQueryString(back.search), replace: true } as never);
  };
  return (
    <main className={s.page}>
      <div className={s.corner}>
        <ThemeMenu />
      </div>
      <div className={s.box}>
        <h1>
          <svg width="22" height="22" viewBox="0 0 16 16" aria-hidden="true">
            <path d="M1.500 5h5.500v6h7.500" fill="none" stroke="currentColor" strokeWidth="2.200" strokeLinejoin="round" strokeLinecap="round" />
          </svg>
          Weir
        </h1>
        {error && (
          <p role="alert" className="tone-bad">
            The identity provider did not let you in. {reasonOf(error)}
          </p>
        )}
        {!session && (unknown ? <p role="alert">{unknown.message}</p> : <p className="muted late">One moment …</p>)}
        {session && <Ways session={session} token={token} to={ownPath(to)} onDone={goOn} />}
      </div>
    </main>
  );
}

/** What the analyzer says of a refusal, by the word that it puts into the address. */
function reasonOf(word: string): string {
  switch (word) {
    case 'group':
      return 'You are in no group that has a role here.';
    case 'state':
      return 'The sign-in took too long, or was begun in another browser. Please begin again.';
    default:
      return 'The analyzer’s log says why.';
  }
}

function Ways({ session, token, to, onDone }: { session: Session; token: string; to: string; onDone: (session: Session) => void }) {
  if (session.identity) {
    return (
      <>
        <p>You are signed in as {session.identity.name}.</p>
        <button type="button" className="btn primary" onClick={() => onDone(session)}>
          Go on
        </button>
      </>
    );
  }
  if (session.setup) return token ? <FirstUser token={token} onDone={onDone} /> : <NoUser />;
  return (
    <>
      {token && (
        <p role="status">
          <Icon name="info" size={12} /> The link was used: the first user exists. Sign in as that user, or ask an admin for an account.
        </p>
      )}
      {to !== '/' && !token && <p className="muted">Please sign in to go on where you were.</p>}
      {session.methods.includes('oidc') && (
        <a className={`btn primary ${s.oidc}`} href={address('session/oidc', { to })}>
          Sign in with the identity provider
        </a>
      )}
      {session.methods.includes('password') && <ByPassword onDone={onDone} />}
    </>
  );
}

function ByPassword({ onDone }: { onDone: (session: Session) => void }) {
  const [name, setName] = useState('');
  const [password, setPassword] = useState('');
  const act = useAct(() => sendJson<Session>('POST', 'session', { name, password }), { done: onDone });
  return (
    <Form label="Sign in" action="Sign in" busy={act.isPending} error={act.error} disabled={name === '' || password === ''} onSubmit={() => act.mutate()}>
      {/* oxlint-disable-next-line jsx-a11y/no-autofocus -- the page has one purpose, and this is where it begins */}
      <Field label="Name" value={name} onChange={setName} autoComplete="username" autoFocus />
      <PasswordField label="Password" value={password} onChange={setPassword} />
    </Form>
  );
}

function FirstUser({ token, onDone }: { token: string; onDone: (session: Session) => void }) {
  const [name, setName] = useState('admin');
  const [password, setPassword] = useState('');
  const act = useAct(() => sendJson<Session>('POST', 'session/setup', { token, name, password }), { done: onDone });
  return (
    <>
      <p>This analyzer has no user yet. The first is an admin, who makes the others.</p>
      <Form label="Make the first user" action="Make the first admin" busy={act.isPending} error={act.error} disabled={name === '' || password.length < shortestPassword} onSubmit={() => act.mutate()}>
        <Field label="Name" value={name} onChange={setName} autoComplete="username" />
        <PasswordField label="Password" value={password} onChange={setPassword} fresh />
      </Form>
    </>
  );
}

function NoUser() {
  return (
    <>
      <p>This analyzer has no user yet. It printed a one-time link when it started; open that link to make the first.</p>
      <p className="muted">The link holds for an hour. A restart of the analyzer prints another.</p>
    </>
  );
}
