import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect, useId, useImperativeHandle, useLayoutEffect, useMemo, useRef, useState, type KeyboardEvent, type Ref } from 'react';
import { checkQuery, fieldsQuery } from '../api/queries';
import type { QueryMistake } from '../api/types';
import { complete, builtinFields } from '../lib/query';
import { Icon } from './Icon';
import s from './QueryBar.module.css';

export interface QueryBarHandle {
  focus(): void;
}

/** The text split at the mistake, which is counted in characters from 1; one after the end marks the end. */
export function splitAtMistake(text: string, mistake: Pick<QueryMistake, 'column' | 'length'>): [string, string, string] {
  const chars = Array.from(text);
  const start = Math.min(Math.max(mistake.column - 1, 0), chars.length);
  const end = Math.min(start + Math.max(mistake.length || 1, 1), chars.length);
  return [chars.slice(0, start).join(''), chars.slice(start, end).join(''), chars.slice(end).join('')];
}

/** What is wrong, where, and what could have stood there instead. */
export function mistakeText(mistake: QueryMistake): string {
  const expected = mistake.expected && !mistake.suggestion ? ` Expected ${mistake.expected}.` : '';
  return `${mistake.message} at column ${mistake.column}.${expected}`;
}

/** Whoever pauses this long while typing may be done. */
const pauseMs = 250;

interface Props {
  ref?: Ref<QueryBarHandle>;
  /** The query of the URL. */
  value: string;
  onApply: (query: string) => void;
  /** What is wrong with `value`, if it was refused. */
  mistakes: readonly QueryMistake[];
  /** Refused without a place. */
  refusal: string | null;
  /** Values that the page knows, by field. */
  values: Readonly<Record<string, readonly string[]>>;
}

export function QueryBar({ ref, value, onApply, mistakes, refusal, values }: Props) {
  const [draft, setDraft] = useState(value);
  const [applied, setApplied] = useState(value);
  if (applied !== value) {
    // The URL changed: back, forward, or a click that filters.
    setApplied(value);
    setDraft(value);
  }
  const [caret, setCaret] = useState<number | null>(null);
  const [open, setOpen] = useState(false);
  const [active, setActive] = useState(-1);
  const input = useRef<HTMLInputElement>(null);
  const overlay = useRef<HTMLDivElement>(null);
  const list = useRef<HTMLUListElement>(null);
  const id = useId();
  const { data: fields = builtinFields } = useQuery(fieldsQuery);

  useImperativeHandle(ref, () => ({
    focus() {
      input.current?.focus();
      input.current?.select();
    },
  }));

  const options = useMemo(
    () => (open && caret !== null ? complete(draft, caret, fields, values).slice(0, 40) : []),
    [open, caret, draft, fields, values],
  );
  const shown = options.length > 0;

  // The overlay repeats the text under the input; they scroll together.
  const follow = () => {
    if (overlay.current && input.current) overlay.current.scrollLeft = input.current.scrollLeft;
  };
  useLayoutEffect(follow);
  useLayoutEffect(() => {
    list.current?.children[active]?.scrollIntoView?.({ block: 'nearest' });
  }, [active]);

  const mistake = draft === value ? mistakes[0] : undefined;
  const unapplied = draft.trim() !== value;

  // The answer is there before Enter asks for it. It is not shown while one
  // types: half a query is always wrong.
  const client = useQueryClient();
  const asked = draft.trim();
  useEffect(() => {
    if (!unapplied || asked === '' || asked.length > 1000) return undefined;
    const timer = setTimeout(() => void client.prefetchQuery(checkQuery(asked)), pauseMs);
    return () => clearTimeout(timer);
  }, [client, asked, unapplied]);

  const change = (text: string, at: number) => {
    setDraft(text);
    setCaret(at);
    setOpen(true);
    setActive(-1);
  };

  const apply = (text: string) => {
    setOpen(false);
    setActive(-1);
    setDraft(text.trim());
    onApply(text.trim());
  };

  const choose = (index: number) => {
    const option = options[index];
    if (!option) return;
    change(option.text, option.caret);
    requestAnimationFrame(() => input.current?.setSelectionRange(option.caret, option.caret));
  };

  const onKeyDown = (event: KeyboardEvent<HTMLInputElement>) => {
    switch (event.key) {
      case 'Enter':
        event.preventDefault();
        if (shown && active >= 0) choose(active);
        else apply(draft);
        return;
      case 'ArrowDown':
      case 'ArrowUp': {
        event.preventDefault();
        if (!shown) {
          setCaret(event.currentTarget.selectionStart ?? draft.length);
          setOpen(true);
          setActive(-1);
          return;
        }
        const step = event.key === 'ArrowDown' ? 1 : -1;
        setActive((active + step + options.length + (active < 0 && step < 0 ? 1 : 0)) % options.length);
        return;
      }
      case 'Escape':
        if (shown) {
          event.preventDefault();
          setOpen(false);
        } else if (unapplied) {
          event.preventDefault();
          setDraft(value);
        } else input.current?.blur();
        event.stopPropagation();
        return;
      default:
    }
  };

  const [before, wrong, after] = mistake ? splitAtMistake(draft, mistake) : [draft, '', ''];
  const refused = mistake !== undefined || (refusal !== null && !unapplied);

  return (
    <div className={s.bar}>
      <div className={s.field} data-wrong={refused || undefined}>
        <span className={s.icon}>
          <Icon name="search" />
        </span>
        <div className={s.text}>
          <div ref={overlay} className={s.overlay} aria-hidden="true">
            {before}
            {mistake && (
              <span className={s.wrong} data-testid="query-mistake">
                {wrong || ' '}
              </span>
            )}
            {after}
          </div>
          <input
            ref={input}
            className={s.input}
            value={draft}
            onChange={(e) => change(e.target.value, e.target.selectionStart ?? e.target.value.length)}
            onSelect={(e) => setCaret(e.currentTarget.selectionStart)}
            onScroll={follow}
            onKeyDown={onKeyDown}
            onBlur={() => setOpen(false)}
            placeholder="Filter: status:5xx app:checkout duration:>200ms"
            aria-label="Query"
            role="combobox"
            aria-expanded={shown}
            aria-controls={`${id}-list`}
            aria-autocomplete="list"
            aria-activedescendant={shown && active >= 0 ? `${id}-${active}` : undefined}
            aria-invalid={refused}
            aria-describedby={refused ? `${id}-mistake` : undefined}
            autoComplete="off"
            autoCapitalize="off"
            autoCorrect="off"
            spellCheck={false}
          />
        </div>
        {unapplied && (
          <button type="button" className={s.apply} onClick={() => apply(draft)} title="Apply the query">
            <kbd>Enter</kbd>
          </button>
        )}
        {draft !== '' && (
          <button
            type="button"
            className={s.clear}
            aria-label="Clear the query"
            title="Clear the query"
            onClick={() => {
              apply('');
              input.current?.focus();
            }}
          >
            <Icon name="cross" size={12} />
          </button>
        )}
        <ul id={`${id}-list`} ref={list} className={s.options} role="listbox" aria-label="Completions" hidden={!shown}>
          {options.map((option, i) => (
            // The input keeps the keyboard (ARIA combobox); options are for the pointer.
            <li
              key={option.label}
              id={`${id}-${i}`}
              role="option"
              aria-selected={i === active}
              className={s.option}
              onMouseDown={(e) => {
                e.preventDefault();
                choose(i);
              }}
            >
              <code>{option.label}</code>
              <span>{option.detail}</span>
            </li>
          ))}
        </ul>
      </div>
      {refused && (
        <p id={`${id}-mistake`} className={s.message} role="alert">
          <span className="tone-bad">
            <Icon name="cross" size={12} />
          </span>
          {mistake ? mistakeText(mistake) : refusal}
          {mistake?.suggestion && (
            <>
              {' '}
              Did you mean{' '}
              <button type="button" className={s.suggestion} onClick={() => apply(before + mistake.suggestion + after)}>
                {mistake.suggestion}
              </button>
              ?
            </>
          )}
        </p>
      )}
    </div>
  );
}
