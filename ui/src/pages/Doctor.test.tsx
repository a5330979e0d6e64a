import { screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { expect, test, vi } from 'vitest';
import type { Doctor as Report, DoctorCheck } from '../api/types';
import { doctorText } from '../lib/doctor';
import { serve, showAt } from '../test-kit';
import { Doctor } from './Doctor';

const check = (change: Partial<DoctorCheck>): DoctorCheck => ({ id: 'a.b', title: 'A title', where: '', status: 'ok', found: 'Well.', cause: '', fix: '', ...change });

const report: Report = {
  time: new Date().toISOString(),
  status: 'failure',
  checks: [
    check({ id: 'disk', title: 'Room' }),
    check({ id: 'clock', title: 'Clock', status: 'warning', where: 'checkout-1', found: '4 s behind', cause: 'No NTP.', fix: 'Run one.' }),
    check({ id: 'port', title: 'Port', status: 'skipped', found: 'Not from here.' }),
    check({ id: 'upstream', title: 'Upstream', status: 'failure', where: 'localhost:8080', found: 'refused', cause: 'Nothing listens.', fix: 'Start it.' }),
  ],
};

test('worst first, each with its cause and what to do', async () => {
  serve((path) => (path === 'doctor' ? report : undefined));
  showAt('/doctor', Doctor);
  expect((await screen.findByTestId('doctor')).textContent).toBe('1 check has failed');
  expect(screen.getAllByRole('heading', { level: 2 }).map((h) => h.textContent)).toEqual(['1 failure', '1 warning', '1 to know', '1 well']);
  const items = screen.getAllByRole('listitem');
  expect(items.map((li) => li.dataset.check)).toEqual(['upstream', 'clock', 'port', 'disk']);
  expect(items[0]?.textContent).toMatch(/Upstream localhost:8080refusedWhy: Nothing listens\.Do: Start it\./);
  expect(items[0]?.querySelector('[aria-label="failure"]')).toBeTruthy();
});

test('checks again when asked', async () => {
  const calls = serve((path) => (path === 'doctor' ? report : undefined));
  showAt('/doctor', Doctor);
  await userEvent.click(await screen.findByRole('button', { name: 'Check again' }));
  await vi.waitFor(() => expect(calls.filter((c) => c.endsWith('/doctor')).length).toBe(2));
});

test('as text, as the command line prints it', () => {
  expect(doctorText(report)).toBe(`ok       Room: Well.
warning  Clock (checkout-1): 4 s behind
         Why  No NTP.
         Do   Run one.
skipped  Port: Not from here.
failure  Upstream (localhost:8080): refused
         Why  Nothing listens.
         Do   Start it.

1 well, 1 warnings, 1 failures, 1 to know.
`);
});
