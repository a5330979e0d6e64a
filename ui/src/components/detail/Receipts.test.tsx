import { screen, within } from '@testing-library/react';
import { expect, test } from 'vitest';
import { show } from '../../test-kit';
import { Receipts } from './Receipts';

test('each receipt has rule, place, type and count, and reasons are in words', () => {
  show(
    <Receipts
      redactions={[
        { rule: 'authorization', location: 'request.header.authorization', type: 'AUTH', count: 1 },
        { rule: 'passwords', location: 'request.body $.users[*].password', type: 'PASSWORD', count: 3 },
        { rule: 'withheld', location: 'response.body', type: 'unknown_type', count: 1 },
        { rule: 'mails', location: 'response.header.x-by', type: 'shadow:EMAIL', count: 2 },
      ]}
    />,
  );
  const rows = within(screen.getByRole('table', { name: 'Receipts' })).getAllByRole('row').slice(1);
  const text = rows.map((r) => r.textContent?.replace(/\s+/g, ' '));
  expect(text[0]).toContain('header.authorization');
  expect(text[0]).toContain('AUTH');
  expect(text[1]).toContain('body $.users[*].password');
  expect(text[1]).toContain('3');
  expect(text[2]).toContain('withheld');
  expect(text[2]).toContain('no rule can look into');
  expect(text[3]).toContain('shadow');
  expect(screen.getByText(/4 values were replaced/)).toBeTruthy();
});

test('a pair without receipts has no table', () => {
  show(<Receipts redactions={[]} />);
  expect(screen.queryByRole('table')).toBeNull();
});
