import { Popover } from '@mantine/core';
import { useMemo, useState } from 'react';
import { defaultIgnore, parseIgnore } from '../../lib/compare/ignore';
import { setIgnoreText, useIgnoreText } from '../../lib/compare/remembered';
import { plural } from '../../lib/format';
import { Icon } from '../Icon';
import s from './Compare.module.css';

/** What a comparison passes over; the reader's own, and remembered. */
export function IgnoreRules() {
  const text = useIgnoreText();
  const [draft, setDraft] = useState(text);
  const [opened, setOpened] = useState(false);
  const { mistakes } = useMemo(() => parseIgnore(draft), [draft]);
  const { rules } = useMemo(() => parseIgnore(text), [text]);
  const open = (next: boolean) => {
    if (next) setDraft(text);
    setOpened(next);
  };
  return (
    <Popover opened={opened} onChange={open} position="bottom-end" offset={4} trapFocus returnFocus withRoles={false}>
      <Popover.Target>
        <button type="button" className="btn" aria-expanded={opened} aria-haspopup="dialog" onClick={() => open(!opened)}>
          <Icon name="tilde" />
          {plural(rules.length, 'ignore rule')}
          <Icon name="chevron" size={12} />
        </button>
      </Popover.Target>
      <Popover.Dropdown className={s.rules} role="dialog" aria-label="What to ignore">
        <label htmlFor="ignore-rules">One rule a line: header:NAME, json:NAME, json:$.PATH, or value: uuid, time, trace. * stands for anything.</label>
        <textarea id="ignore-rules" value={draft} onChange={(e) => setDraft(e.target.value)} spellCheck={false} aria-invalid={mistakes.length > 0} aria-describedby="ignore-mistakes" />
        <div id="ignore-mistakes" role="status">
          {mistakes.map((m) => (
            <p key={m} className="tone-bad">
              {m}
            </p>
          ))}
        </div>
        <div className={s.actions}>
          <button
            type="button"
            className="btn primary"
            disabled={mistakes.length > 0}
            onClick={() => {
              setIgnoreText(draft);
              setOpened(false);
            }}
          >
            Apply
          </button>
          <button type="button" className="btn" onClick={() => setDraft(defaultIgnore)}>
            The usual ones
          </button>
          <button type="button" className="btn" onClick={() => setDraft('')}>
            None
          </button>
        </div>
      </Popover.Dropdown>
    </Popover>
  );
}
