import { useRef } from 'react';
import type { Range } from '../lib/range';
import { defaultFrom } from '../lib/range';
import { refusalOf } from '../lib/refusal';
import type { SumsSearch } from '../lib/search';
import { useKeys } from '../lib/use-keys';
import s from './AskBar.module.css';
import { QueryBar, type QueryBarHandle } from './QueryBar';
import { RangePicker } from './RangePicker';

interface Props {
  q: string;
  range: Range;
  /** Why the query was not answered. */
  error: Error | null;
  onChange: (change: SumsSearch) => void;
  /** The same query again. */
  onAgain: () => void;
}

/** What a page of sums is asked: a query and a range, as on Traffic. */
export function AskBar({ q, range, error, onChange, onAgain }: Props) {
  const bar = useRef<QueryBarHandle>(null);
  useKeys({ '/': () => bar.current?.focus() });
  return (
    <div className={s.bar}>
      <QueryBar
        ref={bar}
        value={q}
        onApply={(next) => (next === q ? onAgain() : onChange({ q: next || undefined }))}
        {...refusalOf(error)}
        values={{}}
      />
      <RangePicker range={range} onChange={(next) => onChange({ from: next.from === defaultFrom ? undefined : next.from, to: next.to })} />
    </div>
  );
}
