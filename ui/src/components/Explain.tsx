import { Popover } from '@mantine/core';
import { useState, type ReactNode } from 'react';
import s from './Explain.module.css';

interface Props {
  /** What the button shows. */
  children: ReactNode;
  /** Its name for those who do not see it. */
  label: string;
  /** Names the popover. */
  title: string;
  text: ReactNode;
  className?: string | undefined;
}

/** A mark that says what it means when it is asked: by click, by key, or on hover in short. */
export function Explain({ children, label, title, text, className }: Props) {
  const [opened, setOpened] = useState(false);
  return (
    <Popover opened={opened} onChange={setOpened} position="bottom" offset={4} width={360} returnFocus trapFocus withRoles={false}>
      <Popover.Target>
        <button type="button" className={className ?? s.button} aria-label={label} aria-expanded={opened} aria-haspopup="dialog" title={title} onClick={() => setOpened(!opened)}>
          {children}
        </button>
      </Popover.Target>
      <Popover.Dropdown className={s.dropdown} role="dialog" aria-label={title}>
        {/* The focus goes to the words, whether or not there is something to act on among them. */}
        <div className={s.text} tabIndex={-1} data-autofocus>
          {text}
        </div>
      </Popover.Dropdown>
    </Popover>
  );
}
