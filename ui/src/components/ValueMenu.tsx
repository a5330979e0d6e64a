import { Menu } from '@mantine/core';
import { createContext, use, useMemo, useRef, useState, type KeyboardEvent, type MouseEvent, type ReactNode } from 'react';
import { copyText } from '../lib/clipboard';
import { notice } from '../lib/notice';
import { visibleText } from '../lib/visible';
import m from './menu.module.css';
import s from './ValueMenu.module.css';

interface Chosen {
  value: string;
  clause: string | undefined;
  name: string;
  from: HTMLElement;
  left: number;
  top: number;
  height: number;
}

type Open = (event: MouseEvent<HTMLElement> | KeyboardEvent<HTMLElement>, about: Pick<Chosen, 'value' | 'clause' | 'name'>) => void;

const OpenMenu = createContext<Open | null>(null);

/** One menu for all values within: show only what has the value, leave it out, copy it. */
export function ValueMenus({ onFilter, children }: { onFilter?: ((clause: string) => void) | undefined; children: ReactNode }) {
  const [chosen, setChosen] = useState<Chosen | null>(null);
  const back = useRef<HTMLElement | null>(null);
  const open = useMemo<Open>(
    () => (event, about) => {
      const from = event.currentTarget;
      const box = from.getBoundingClientRect();
      // A value may go over many lines: the menu opens where the pointer is.
      const pointer = 'clientX' in event && event.detail > 0 ? { left: event.clientX, top: event.clientY, height: 8 } : { left: box.left, top: box.top, height: box.height };
      back.current = from;
      setChosen({ ...about, from, ...pointer });
    },
    [],
  );
  const close = () => {
    setChosen(null);
    back.current?.focus({ preventScroll: true });
  };
  const copy = async (text: string, what: string) => notice((await copyText(text)) ? `Copied ${what}` : 'The browser did not allow copying');
  return (
    <OpenMenu value={open}>
      {children}
      {chosen && (
        <Menu opened onChange={(o) => !o && close()} position="bottom-start" offset={2} returnFocus={false} hideDetached={false} withInitialFocusPlaceholder={false} menuItemTabIndex={0}>
          <Menu.Target>
            <span className={s.anchor} aria-hidden="true" style={{ left: chosen.left, top: chosen.top, height: chosen.height }} />
          </Menu.Target>
          <Menu.Dropdown className={`${m.menu} ${s.menu}`} aria-label={`What to do with ${visibleText(chosen.name)}`}>
            {chosen.clause && onFilter && (
              <>
                <Menu.Label className={m.label}>
                  <code className={s.clause}>{visibleText(chosen.clause)}</code>
                </Menu.Label>
                <Menu.Item className={m.item} onClick={() => onFilter(chosen.clause as string)}>
                  Show only pairs with it
                </Menu.Item>
                <Menu.Item className={m.item} onClick={() => onFilter(`-${chosen.clause}`)}>
                  Leave out pairs with it
                </Menu.Item>
              </>
            )}
            <Menu.Item className={m.item} onClick={() => void copy(chosen.value, visibleText(chosen.name))}>
              Copy the value
            </Menu.Item>
            {chosen.clause && (
              <Menu.Item className={m.item} onClick={() => void copy(chosen.clause as string, 'the query term')}>
                Copy as a query term
              </Menu.Item>
            )}
          </Menu.Dropdown>
        </Menu>
      )}
    </OpenMenu>
  );
}

interface ValueProps {
  /** As it is copied. */
  value: string;
  /** The query's term for it; without one it can only be copied. */
  clause?: string | undefined;
  /** What it is the value of. */
  name: string;
  children?: ReactNode;
}

/** A value that can be acted on. It stays text: it can be selected, and is not in the way of reading. */
export function Value({ value, clause, name, children }: ValueProps) {
  const open = use(OpenMenu);
  const shown = children ?? visibleText(value);
  if (!open) return <span>{shown}</span>;
  const about = { value, clause, name };
  return (
    <span
      role="button"
      tabIndex={0}
      aria-haspopup="menu"
      className={s.value}
      title="Filter by it or copy it"
      onClick={(event) => {
        // Whoever drags over it wants to select.
        if (!window.getSelection()?.toString()) open(event, about);
      }}
      onKeyDown={(event) => {
        if (event.key !== 'Enter' && event.key !== ' ') return;
        event.preventDefault();
        event.stopPropagation();
        open(event, about);
      }}
    >
      {shown}
    </span>
  );
}
