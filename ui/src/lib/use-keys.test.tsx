import { render, screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { expect, test, vi } from 'vitest';
import { useKeys } from './use-keys';

const handlers = { j: vi.fn(), ' ': vi.fn(), x: vi.fn(() => false) };

function Page() {
  useKeys(handlers);
  return (
    <>
      <input aria-label="text" />
      <button type="button">button</button>
      <div role="dialog">
        <button type="button">inside</button>
      </div>
    </>
  );
}

test('only listed keys, only bare, never while writing or in a dialog', async () => {
  const user = userEvent.setup();
  render(<Page />);
  await user.keyboard('j');
  expect(handlers.j).toHaveBeenCalledTimes(1);
  await user.keyboard('{Control>}j{/Control}{Meta>}j{/Meta}{Alt>}j{/Alt}q');
  expect(handlers.j).toHaveBeenCalledTimes(1);
  await user.type(screen.getByLabelText('text'), 'j j');
  screen.getByText('inside').focus();
  await user.keyboard('j');
  expect(handlers.j).toHaveBeenCalledTimes(1);
  expect(handlers[' ']).not.toHaveBeenCalled();
});

test('Tab moves on, and a handler may leave its key alone', () => {
  render(<Page />);
  const press = (key: string) => {
    const event = new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true });
    document.body.dispatchEvent(event);
    return event.defaultPrevented;
  };
  expect(press('Tab')).toBe(false);
  expect(press('x')).toBe(false);
  expect(press('j')).toBe(true);
});
