import { screen, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { expect, test } from 'vitest';
import type { AuditEvent, Deletion, Key, User } from '../api/types';
import { readDeletionSearch } from '../lib/search';
import { problem, serve, showAt } from '../test-kit';
import { Audit } from './Audit';
import { Deletions } from './Deletions';
import { Keys } from './Keys';
import { Users } from './Users';

const scope = { apps: [], namespaces: [], clusters: [] };
const user = (change: Partial<User>): User => ({ name: 'ada', role: 'admin', scope, disabled: false, external: false, created_at: '2026-11-01T00:00:00Z', last_sign_in_at: null, ...change });
const key = (change: Partial<Key>): Key => ({
  id: 'k1', name: 'ci', kind: 'api', role: 'viewer', scope, created_at: '2026-11-01T00:00:00Z', expires_at: null, last_used_at: null, revoked_at: null, ...change,
});

test('what a role may not do is explained, and not asked for', async () => {
  const calls = serve(() => undefined);
  for (const [path, page, role, least] of [['/users', Users, 'operator', 'admin'], ['/keys', Keys, 'investigator', 'operator'], ['/audit', Audit, 'operator', 'admin'], ['/deletions', Deletions, 'viewer', 'operator']] as const) {
    showAt(path, page, undefined, role);
    await screen.findByText(new RegExp(`needs role ${least}\\.`));
    expect(document.querySelector(`[data-needs="${least}"]`)?.textContent).toContain(`signed in as ada, ${role === 'viewer' ? 'a' : 'an'} ${role}`);
    expect(screen.queryByRole('button')).toBeNull();
    document.body.replaceChildren();
  }
  expect(calls).toEqual([]);
});

test('a user is added by keyboard, with a scope', async () => {
  const act = userEvent.setup();
  const users = [user({})];
  serve((path, _, { method, body }) => {
    if (path === 'users' && method === 'POST') {
      users.push(user({ ...(body as User) }));
      return users.at(-1);
    }
    return path === 'users' ? { users } : undefined;
  });
  showAt('/users', Users, undefined, 'admin');
  await screen.findByText('ada');
  await act.keyboard('n');
  const dialog = await screen.findByRole('dialog', { name: 'Add a user' });
  await act.type(within(dialog).getByLabelText('Name'), 'grace');
  await act.type(within(dialog).getByLabelText('First password'), 'short');
  expect((within(dialog).getByRole('button', { name: 'Add the user' }) as HTMLButtonElement).disabled).toBe(true);
  await act.type(within(dialog).getByLabelText('First password'), ' no longer short');
  await act.click(within(dialog).getByLabelText(/^investigator/));
  await act.type(within(dialog).getByLabelText('Apps'), 'checkout, cart{Enter}');
  await screen.findByText('grace');
  expect(users[1]).toMatchObject({ name: 'grace', role: 'investigator', password: 'short no longer short', scope: { apps: ['checkout', 'cart'], namespaces: [], clusters: [] } });
  expect(screen.queryByRole('dialog')).toBeNull();
});

test('what the analyzer refuses is said in the dialog, which stays', async () => {
  const act = userEvent.setup();
  serve((path, _, { method }) => {
    if (method === 'DELETE') return problem(409, { detail: 'The last admin cannot be removed.' });
    return path === 'users' ? { users: [user({})] } : undefined;
  });
  showAt('/users', Users, undefined, 'admin');
  await act.click(await screen.findByRole('button', { name: 'Delete ada' }));
  await act.click(within(await screen.findByRole('dialog')).getByRole('button', { name: 'Delete ada' }));
  expect((await screen.findByRole('alert')).textContent).toBe('The last admin cannot be removed.');
  expect(screen.getByRole('dialog')).toBeTruthy();
});

test('the secret of a key is shown once', async () => {
  const act = userEvent.setup();
  const keys = [key({ id: 'old', name: 'old', revoked_at: '2026-11-20T00:00:00Z' })];
  serve((path, _, { method, body }) => {
    if (path === 'keys' && method === 'POST') {
      keys.unshift(key({ ...(body as Key), id: 'k2' }));
      return { key: keys[0], secret: 'weir_f_k2_secret' };
    }
    return path === 'keys' ? { keys } : undefined;
  });
  showAt('/keys', Keys, undefined, 'operator');
  expect((await screen.findByText('old', { selector: 'b' })).closest('tr')?.textContent).toContain('revoked');
  await act.click(screen.getByRole('button', { name: 'Make a key' }));
  const dialog = await screen.findByRole('dialog');
  // An operator makes tokens of forwarders and proxies; the rest says who may.
  expect((within(dialog).getByLabelText(/^api/) as HTMLInputElement).disabled).toBe(true);
  expect(dialog.textContent).toContain('needs role admin');
  await act.type(within(dialog).getByLabelText('Name'), 'eu{Enter}');
  expect((await screen.findByRole('group', { name: 'The key' })).textContent).toContain('weir_f_k2_secret');
  expect(keys[0]).toMatchObject({ name: 'eu', kind: 'forwarder' });
  await act.click(screen.getByRole('button', { name: 'I have it' }));
  expect(document.body.textContent).not.toContain('weir_f_k2_secret');
  await screen.findByText('eu');
});

test('the audit log in pages, and its verdict', async () => {
  const act = userEvent.setup();
  const event = (seq: number): AuditEvent => ({ seq, time: '2026-11-23T12:00:00Z', kind: 'user', name: 'ada', action: 'pair.read', target: `pair-${seq}`, detail: '', from: '127.0.0.1', result: 'ok', hash: '' });
  let intact = true;
  const calls = serve((path, url) => {
    if (path === 'audit/verify') return { intact, events: 3, problem: intact ? '' : 'An event was changed.', at: intact ? 0 : 2, head: 'abcdef'.repeat(10) };
    if (path === 'audit') return url.searchParams.get('cursor') ? { events: [event(1)], next_cursor: null } : { events: [event(3), event(2)], next_cursor: 'c2' };
    return undefined;
  });
  showAt('/audit', Audit, undefined, 'admin');
  await screen.findByText('pair-3');
  expect(calls.some((c) => c.includes('verify'))).toBe(false);
  await act.click(screen.getByRole('button', { name: 'Older' }));
  await screen.findByText('pair-1');
  expect(screen.queryByRole('button', { name: 'Older' })).toBeNull();
  await act.keyboard('v');
  expect((await screen.findByTestId('audit-verdict')).textContent).toContain('Intact: 3 events');
  intact = false;
  await act.click(screen.getByRole('button', { name: 'Verify' }));
  await screen.findByText(/Not as it was written/);
  expect(screen.getByTestId('audit-verdict').textContent).toContain('An event was changed. (event 2)');
});

test('a deletion is counted, confirmed by the count, and proven', async () => {
  const act = userEvent.setup();
  const asked: unknown[] = [];
  const deletion: Deletion = { id: '', time: '2026-11-23T12:00:00Z', by: 'ada', query: 'app:checkout', dry_run: true, matched: 1204, deleted: 0, bytes: 0, segments_rewritten: 0, proof: '' };
  serve((path, _, { method, body }) => {
    if (path === 'query') return { canonical: 'app:checkout', mistake: null };
    if (path === 'deletions' && method === 'POST') {
      asked.push(body);
      return (body as { dry_run?: boolean }).dry_run ? deletion : { ...deletion, id: 'd1', dry_run: false, deleted: 1204, bytes: 5000, segments_rewritten: 2, proof: 'Nothing of 1204 pairs was found in 2 files.' };
    }
    return path === 'deletions' ? { deletions: [] } : undefined;
  });
  const router = showAt('/deletions', Deletions, readDeletionSearch, 'operator');
  await act.type(await screen.findByLabelText('Query'), 'app:checkout');
  expect(router.state.location.searchStr).toContain('q=app:checkout');
  await act.type(screen.getByLabelText('Query'), '{Enter}');
  const confirm = await screen.findByLabelText('Type 1,204 to confirm');
  const button = screen.getByRole('button', { name: 'Delete 1,204 pairs for good' }) as HTMLButtonElement;
  expect(button.disabled).toBe(true);
  await act.type(confirm, '1203');
  expect(button.disabled).toBe(true);
  await act.clear(confirm);
  await act.type(confirm, '1204');
  await act.click(button);
  expect((await screen.findByTestId('deletion-proof')).textContent).toContain('Nothing of 1204 pairs was found');
  expect(asked).toEqual([{ q: 'app:checkout', dry_run: true }, { q: 'app:checkout', confirm: 1204 }]);
});
