import { Popover } from '@mantine/core';
import { useState } from 'react';
import { usePrefs } from '../lib/prefs';
import { fromInput, presets, rangeLabel, toInput, type Range } from '../lib/range';
import { parseMs } from '../lib/time';
import { useNow } from '../lib/use-now';
import { Icon } from './Icon';
import s from './RangePicker.module.css';

export function RangePicker({ range, onChange }: { range: Range; onChange: (range: Range) => void }) {
  const [opened, setOpened] = useState(false);
  const { zone } = usePrefs();
  const now = useNow(60_000);
  const pick = (next: Range) => {
    setOpened(false);
    onChange(next);
  };
  return (
    <Popover opened={opened} onChange={setOpened} position="bottom-end" offset={4} trapFocus returnFocus withRoles={false}>
      <Popover.Target>
        <button type="button" className={`btn ${s.button}`} aria-expanded={opened} aria-haspopup="dialog" onClick={() => setOpened(!opened)}>
          <Icon name="clock" />
          {rangeLabel(range, zone, now)}
          <Icon name="chevron" size={12} />
        </button>
      </Popover.Target>
      <Popover.Dropdown className={s.dropdown} role="dialog" aria-label="Time range">
        <div className={s.presets}>
          {presets.map((p) => (
            <button
              key={p.from}
              type="button"
              className={s.preset}
              aria-pressed={!range.to && range.from === p.from}
              onClick={() => pick({ from: p.from })}
            >
              {p.label}
            </button>
          ))}
        </div>
        {opened && <Absolute range={range} onPick={pick} />}
      </Popover.Dropdown>
    </Popover>
  );
}

function Absolute({ range, onPick }: { range: Range; onPick: (range: Range) => void }) {
  const { zone } = usePrefs();
  const initial = () => {
    const now = Date.now();
    const to = range.to ? parseMs(range.to) : now;
    const from = parseMs(range.from);
    return { from: toInput(Number.isNaN(from) ? to - 3_600_000 : from, zone), to: toInput(to, zone) };
  };
  const [{ from, to }, setInputs] = useState(initial);
  const start = fromInput(from, zone);
  const end = fromInput(to, zone);
  const good = start < end;
  return (
    <form
      className={s.absolute}
      onSubmit={(e) => {
        e.preventDefault();
        if (good) onPick({ from: new Date(start).toISOString(), to: new Date(end).toISOString() });
      }}
    >
      <p className={s.title}>From – to ({zone === 'utc' ? 'UTC' : 'local time'})</p>
      <label>
        <span>From</span>
        <input type="datetime-local" step="1" value={from} onChange={(e) => setInputs({ from: e.target.value, to })} />
      </label>
      <label>
        <span>To</span>
        <input type="datetime-local" step="1" value={to} onChange={(e) => setInputs({ from, to: e.target.value })} />
      </label>
      {!good && from !== '' && to !== '' && <p className="tone-bad">“From” must be before “To”.</p>}
      <button type="submit" className="btn primary" disabled={!good}>
        Show this range
      </button>
    </form>
  );
}
