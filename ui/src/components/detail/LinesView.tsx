import { useMemo, useState, type KeyboardEvent } from 'react';
import type { TextForm } from '../../lib/body-reader';
import type { AnyReader } from '../../lib/body-thread';
import { formatCount } from '../../lib/format';
import { useAnswer } from '../../lib/use-answer';
import { useRows } from '../../lib/use-rows';
import { visibleText } from '../../lib/visible';
import s from './LinesView.module.css';
import t from './JsonTree.module.css';

const rowHeight = 18;

/** Text too large for an editor: numbered, searched, and only the rows in sight exist. */
export function LinesView({ reader, form, label }: { reader: AnyReader; form: TextForm; label: string }) {
  const counted = useMemo(() => reader.rowCount(form), [reader, form]);
  const count = useAnswer(counted) ?? 0;
  const [needle, setNeedle] = useState('');
  const [hits, setHits] = useState(0);
  const [at, setAt] = useState(-1);
  const [hitRow, setHitRow] = useState(-1);
  const { attach, height, first, last, top, scrollToIndex } = useRows(count, rowHeight);
  const sight = useAnswer(
    useMemo(() => {
      const got = reader.rows(form, first, last);
      return got instanceof Promise ? got.then((rows) => ({ first, rows })) : { first, rows: got };
    }, [reader, form, first, last]),
  );
  const find = async (text: string) => {
    setNeedle(text);
    setAt(-1);
    setHitRow(-1);
    setHits(await reader.findText(form, text));
  };
  const goTo = async (index: number) => {
    if (hits === 0) return;
    const place = (index + hits) % hits;
    setAt(place);
    const row = await reader.textHit(form, place);
    setHitRow(row);
    scrollToIndex(row);
  };
  const onKeyDown = (event: KeyboardEvent<HTMLInputElement>) => {
    if (event.key === 'Enter') {
      event.preventDefault();
      void goTo(at + (event.shiftKey ? -1 : 1));
    } else if (event.key === 'Escape' && needle !== '') {
      void find('');
      event.stopPropagation();
    }
  };
  return (
    <div className={t.tree}>
      <div className={t.bar}>
        <input type="search" value={needle} onChange={(e) => void find(e.target.value)} onKeyDown={onKeyDown} placeholder="Find in it" aria-label={`Find in the ${label.toLowerCase()}`} spellCheck={false} />
        {needle !== '' && (
          <span className="muted" aria-live="polite">
            {hits === 0 ? 'not in it' : `${at < 0 ? '' : `${formatCount(at + 1)} of `}${formatCount(hits)}`}
          </span>
        )}
      </div>
      <div className={t.holder}>
        {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a scrolling region must be reachable by the keyboard */}
        <div ref={attach} className={t.scroll} role="region" tabIndex={0} aria-label={label}>
          <div className={t.space} style={{ height }}>
            {sight && (
              <div className={t.window} style={{ transform: `translateY(${sight.first * rowHeight + top - first * rowHeight}px)` }}>
                {sight.rows.map((row, i) => (
                  <div key={sight.first + i} className={s.row} data-hit={sight.first + i === hitRow || undefined}>
                    <span className={s.number}>{row.number === null ? '' : formatCount(row.number)}</span>
                    <span>{visibleText(row.text)}</span>
                  </div>
                ))}
              </div>
            )}
          </div>
        </div>
      </div>
    </div>
  );
}
