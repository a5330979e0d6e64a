import { screen, waitFor } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { afterEach, expect, test } from 'vitest';
import type { Session } from '../api/types';
import { readSignInSearch } from '../lib/search';
import { problem, serve, sessionOf, showAt } from '../test-kit';
import { SignIn } from './SignIn';

const nobody = (change: Partial<Session> = {}): Session => ({ auth: 'on', setup: false, methods: ['password'], notice: false, expires: null, identity: null, ...change });

afterEach(() => window.history.replaceState(null, '', '/'));

test('a refusal says the same for everybody, then the way leads back to where the reader was', async () => {
  const act = userEvent.setup();
  serve((path, _, { method, body }) => {
    if (path !== 'session') return undefined;
    if (method === 'GET') return nobody();
    return (body as { password: string }).password === 'right' ? sessionOf('viewer') : problem(401, { detail: 'Name or password is wrong.' });
  });
  const router = showAt('/sign-in?to=%2Fledger%3Fapp%3Dcart', SignIn, readSignInSearch);
  await act.type(await screen.findByLabelText('Name'), 'ada');
  await act.type(screen.getByLabelText('Password'), 'wrong{Enter}');
  expect((await screen.findByRole('alert')).textContent).toBe('Name or password is wrong.');
  await act.clear(screen.getByLabelText('Password'));
  await act.type(screen.getByLabelText('Password'), 'right{Enter}');
  await screen.findByText('another page: /ledger');
  expect(router.state.location.search).toEqual({ app: 'cart' });
});

test('the link of the first start makes the first admin, and its token leaves the address', async () => {
  const act = userEvent.setup();
  let sent: unknown;
  serve((path, _, { body }) => {
    if (path === 'session') return nobody({ setup: true });
    if (path === 'session/setup') {
      sent = body;
      return sessionOf('admin');
    }
    return undefined;
  });
  window.history.replaceState(null, '', '/sign-in#setup=T0KEN');
  showAt('/sign-in', SignIn, readSignInSearch);
  await act.type(await screen.findByLabelText('Password'), 'a long enough one{Enter}');
  await screen.findByText('another page: /');
  expect(sent).toEqual({ token: 'T0KEN', name: 'admin', password: 'a long enough one' });
  expect(window.location.hash).toBe('');
});

test('without the link, a new analyzer says where it is', async () => {
  serve((path) => (path === 'session' ? nobody({ setup: true }) : undefined));
  showAt('/sign-in', SignIn, readSignInSearch);
  await screen.findByText(/printed a one-time link/);
  expect(screen.queryByLabelText('Password')).toBeNull();
});

test('the identity provider is a link that keeps the place', async () => {
  serve((path) => (path === 'session' ? nobody({ methods: ['oidc'] }) : undefined));
  showAt('/sign-in?to=%2F%3Fq%3Dstatus%3A5xx', SignIn, readSignInSearch);
  const link = (await screen.findByRole('link', { name: /identity provider/ })) as HTMLAnchorElement;
  expect(new URL(link.href).searchParams.get('to')).toBe('/?q=status:5xx');
  await waitFor(() => expect(screen.queryByLabelText('Password')).toBeNull());
});
