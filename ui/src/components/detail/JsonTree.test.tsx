import { fireEvent, screen, waitFor } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { beforeEach, expect, test, vi } from 'vitest';
import { BodyReader } from '../../lib/body-reader';
import { parseJson } from '../../lib/json';
import { nodeText } from '../../lib/json-tree';
import { show } from '../../test-kit';
import { JsonTree } from './JsonTree';

const source = '{"items":[{"sku":"LMP","n":12345678901234567890},{}],"note":"two\\nlines"}';
const nodes = parseJson(source);
const tree = (text: string) => {
  const reader = new BodyReader(new TextEncoder().encode(text), 'application/json', false);
  return <JsonTree reader={reader} lines={reader.facts().treeLines} label="Response body" />;
};
const node = (key: string) => nodes.findIndex((n) => n.key === `"${key}"`);

beforeEach(() => {
  // A window of ten lines.
  vi.spyOn(HTMLElement.prototype, 'clientHeight', 'get').mockReturnValue(200);
});

test('values are copied as what they stand for', () => {
  expect(nodeText(nodes, node('n'))).toBe('12345678901234567890');
  expect(nodeText(nodes, node('note'))).toBe('two\nlines');
  expect(JSON.parse(nodeText(nodes, node('items')))).toEqual((JSON.parse(source) as { items: unknown }).items);
  expect(nodeText(nodes, 0)).toContain('12345678901234567890');
});

test('folds, and says how much is inside', async () => {
  show(tree(source));
  expect(screen.getByText('"sku"')).toBeTruthy();
  await userEvent.click(screen.getByRole('button', { name: 'Fold $.items' }));
  expect(screen.queryByText('"sku"')).toBeNull();
  expect(screen.getByText('2 items')).toBeTruthy();
  await userEvent.click(screen.getByRole('button', { name: 'Unfold $.items' }));
  expect(screen.getByText('"sku"')).toBeTruthy();
});

test('finds, opening what hides it', async () => {
  show(tree(source));
  await userEvent.click(screen.getByRole('button', { name: 'Fold $.items' }));
  const find = screen.getByRole('searchbox');
  await userEvent.type(find, 'lmp');
  await waitFor(() => expect(document.querySelector('[aria-live]')?.textContent).toBe('1'));
  fireEvent.keyDown(find, { key: 'Enter' });
  await waitFor(() => expect(document.querySelector('[data-hit]')?.textContent).toContain('"LMP"'));
  expect(screen.getByText('1 of 1')).toBeTruthy();
  await userEvent.type(find, 'x');
  expect(await screen.findByText('not in it')).toBeTruthy();
});

test('a large document makes few elements', () => {
  show(tree(JSON.stringify(Array.from({ length: 50_000 }, (_, i) => ({ i })))));
  expect(document.querySelectorAll('[class*=line]').length).toBeLessThan(60);
});
