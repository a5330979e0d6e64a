import { screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { expect, test, vi } from 'vitest';
import { serve, showAt } from '../test-kit';
import { NoResults } from './NoResults';

test('who misses a request is led to where it may have gone', async () => {
  serve((path) => (path === 'query' ? { mistake: null } : path === 'info' ? { pairs: 1 } : undefined));
  const q = 'method:POST path:/api/cart app:checkout status:200';
  const range = { from: '2026-11-23T12:00:00Z', to: '2026-11-23T12:10:00Z' };
  const router = showAt('/', () => <NoResults q={q} range={range} onChange={() => {}} />);
  await userEvent.click(await screen.findByRole('link', { name: 'Where did my request go?' }));
  await vi.waitFor(() => expect(router.state.location.pathname).toBe('/ledger'));
  expect(router.state.location.search).toEqual({ path: '/api/cart', method: 'POST', app: 'checkout', around: '2026-11-23T12:05:00.000Z' });
});
