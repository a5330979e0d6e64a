import { screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import type { QueryMistake } from '../api/types';
import { serve, show } from '../test-kit';
import { mistakeText, QueryBar, splitAtMistake } from './QueryBar';

const mistake = (change: Partial<QueryMistake>): QueryMistake => ({
  column: 1,
  length: 6,
  message: 'Unknown field "stauts"',
  expected: 'a field',
  suggestion: 'status',
  ...change,
});

beforeEach(() => {
  serve((path) =>
    path === 'fields'
      ? {
          fields: [
            { name: 'status', type: 'status', description: 'Status code', example: '', values: [] },
            { name: 'flag', type: 'enum', description: 'What is not whole', example: '', values: ['truncated', 'gap'] },
            { name: 'header.<name>', type: 'any', description: 'Header', example: '', values: [] },
          ],
        }
      : undefined,
  );
});

function setUp(value: string, mistakes: QueryMistake[] = [], refusal: string | null = null) {
  const onApply = vi.fn();
  const view = show(<QueryBar value={value} onApply={onApply} mistakes={mistakes} refusal={refusal} values={{ app: ['checkout'] }} />);
  return { onApply, user: userEvent.setup(), input: screen.getByRole<HTMLInputElement>('combobox', { name: 'Query' }), ...view };
}

describe('a mistake', () => {
  test('is underlined where it is, and said under the bar', () => {
    const { input } = setUp('app:x stauts:5xx', [mistake({ column: 7 })]);
    const mark = screen.getByTestId('query-mistake');
    expect(mark.textContent).toBe('stauts');
    expect(mark.parentElement?.textContent).toBe('app:x stauts:5xx');
    expect(screen.getByRole('alert').textContent).toBe('Unknown field "stauts" at column 7. Did you mean status?');
    expect(input.getAttribute('aria-invalid')).toBe('true');
    expect(document.getElementById(input.getAttribute('aria-describedby') ?? '')).toBe(screen.getByRole('alert'));
  });

  test('is mended by its suggestion', async () => {
    const { user, onApply } = setUp('app:x stauts:5xx', [mistake({ column: 7 })]);
    await user.click(screen.getByRole('button', { name: 'status' }));
    expect(onApply).toHaveBeenCalledWith('app:x status:5xx');
  });

  test('counts characters, not UTF-16 units', () => {
    expect(splitAtMistake('body:😀😀 stauts:1', mistake({ column: 9 }))).toEqual(['body:😀😀 ', 'stauts', ':1']);
  });

  test('may stand behind the end, and never outside the text', () => {
    expect(splitAtMistake('app:', mistake({ column: 5, length: 1 }))).toEqual(['app:', '', '']);
    expect(splitAtMistake('a', mistake({ column: 99, length: 9 }))).toEqual(['a', '', '']);
    expect(splitAtMistake('abc', mistake({ column: 0, length: 0 }))).toEqual(['', 'a', 'bc']);
    setUp('app:', [mistake({ column: 5, length: 1 })]);
    expect(screen.getByTestId('query-mistake').textContent).toBe(' ');
  });

  test('without a suggestion says what was expected', () => {
    expect(mistakeText(mistake({ suggestion: '', message: 'Missing value after app:', column: 5, expected: 'a value right after the colon' }))).toBe(
      'Missing value after app: at column 5. Expected a value right after the colon.',
    );
  });

  test('is not marked any more once the text was changed', async () => {
    const { user, input } = setUp('stauts:5xx', [mistake({})]);
    await user.type(input, '!');
    expect(screen.queryByTestId('query-mistake')).toBeNull();
    expect(screen.queryByRole('alert')).toBeNull();
  });

  test('a refusal without a place is said too', () => {
    setUp('x', [], 'The query is too long.');
    expect(screen.getByRole('alert').textContent).toBe('The query is too long.');
  });
});

describe('typing', () => {
  test('what is written is checked at a pause, and nothing is shown of it', async () => {
    const calls = serve((path, url) =>
      path === 'query' ? { canonical: null, mistake: mistake({ message: `No ${url.searchParams.get('q')}` }) } : { fields: [] },
    );
    const { user, input } = setUp('');
    await user.type(input, 'stauts:5');
    await vi.waitFor(() => expect(calls.filter((c) => c.includes('/query'))).toEqual(['/api/v1/query?q=stauts%3A5']));
    expect(screen.queryByRole('alert')).toBeNull();
    expect(screen.queryByTestId('query-mistake')).toBeNull();
  });

  test('Enter applies what is written, trimmed', async () => {
    const { user, input, onApply } = setUp('');
    await user.type(input, ' status:5xx {Enter}');
    expect(onApply).toHaveBeenCalledWith('status:5xx');
  });

  test('fields and values come from the analyzer', async () => {
    const { user, input, onApply } = setUp('');
    await user.type(input, 'fla');
    expect(await screen.findByText('What is not whole')).toBeTruthy();
    await user.keyboard('{ArrowDown}{Enter}');
    expect(input.value).toBe('flag:');
    await user.keyboard('t{ArrowDown}{Enter}');
    expect(input.value).toBe('flag:truncated ');
    expect(onApply).not.toHaveBeenCalled();
    await user.keyboard('{Enter}');
    expect(onApply).toHaveBeenCalledWith('flag:truncated');
  });

  test('Tab is left alone, and moves on', async () => {
    const { user, input } = setUp('');
    await user.type(input, 'sta');
    await user.tab();
    expect(document.activeElement).not.toBe(input);
    expect(input.value).toBe('sta');
    expect(screen.queryByRole('option')).toBeNull();
  });

  test('Escape closes the list, then takes back what was not applied, then leaves', async () => {
    const { user, input } = setUp('app:x');
    await user.click(input);
    await user.keyboard(' sta');
    expect(screen.getAllByRole('option').length).toBeGreaterThan(0);
    await user.keyboard('{Escape}');
    expect(screen.queryByRole('option')).toBeNull();
    expect(input.value).toBe('app:x sta');
    await user.keyboard('{Escape}');
    expect(input.value).toBe('app:x');
    await user.keyboard('{Escape}');
    expect(document.activeElement).not.toBe(input);
  });

  test('the URL wins when it changes', () => {
    const { input, rerender } = setUp('a:1');
    rerender(<QueryBar value="b:2" onApply={() => {}} mistakes={[]} refusal={null} values={{}} />);
    expect(input.value).toBe('b:2');
  });
});
