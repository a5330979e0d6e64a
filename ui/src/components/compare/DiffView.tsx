import { formatCount, plural } from '../../lib/format';
import { useRows } from '../../lib/use-rows';
import { visibleText } from '../../lib/visible';
import type { DiffCounts, DiffOp, DiffRow } from '../../lib/compare/rows';
import s from './Compare.module.css';

const rowHeight = 20;
/** A row shows this much of a line; hovering shows more. */
const longest = 500;

/** A shape for each kind of difference, so that none is told by colour alone. */
export const signs: Readonly<Record<DiffOp, readonly [sign: string, word: string]>> = {
  same: ['', 'the same'],
  added: ['+', 'only on the right'],
  removed: ['−', 'only on the left'],
  changed: ['≠', 'different'],
  ignored: ['~', 'different, and ignored by a rule'],
  skip: ['', 'left out, since it is the same'],
};

/** How many differences there are, in words. */
export function countWords(counts: DiffCounts): string {
  const parts = [
    counts.changed > 0 && `${formatCount(counts.changed)} changed`,
    counts.removed > 0 && `${formatCount(counts.removed)} only left`,
    counts.added > 0 && `${formatCount(counts.added)} only right`,
    counts.ignored > 0 && `${formatCount(counts.ignored)} ignored`,
  ].filter(Boolean);
  return parts.join(', ') || 'no difference';
}

/** Rows of two documents side by side. Only those in sight exist. */
export function DiffView({ rows, label }: { rows: readonly DiffRow[]; label: string }) {
  const { attach, height, first, last, top } = useRows(rows.length, rowHeight);
  return (
    <div className={s.diff}>
      {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a scrolling region must be reachable by the keyboard */}
      <div ref={attach} className={s.scroll} role="region" tabIndex={0} aria-label={label}>
        <div className={s.space} style={{ height }}>
          <div className={s.window} style={{ transform: `translateY(${top}px)` }}>
            {rows.slice(first, last).map((row, i) => (
              <Row key={first + i} row={row} />
            ))}
          </div>
        </div>
      </div>
    </div>
  );
}

function Row({ row }: { row: DiffRow }) {
  if (row.op === 'skip') return <div className={s.skip}>{plural(row.skipped ?? 0, 'line')} without a difference</div>;
  const [sign, word] = signs[row.op];
  const indent = { paddingLeft: Math.min(row.depth, 40) * 12 };
  const cell = (side: 'left' | 'right') => {
    const text = row[side];
    return (
      <span className={s.cell} data-side={side} data-empty={text === null || undefined} style={indent} title={text === null ? undefined : visibleText(text.slice(0, 2000))}>
        {text === null ? '' : visibleText(text.slice(0, longest))}
      </span>
    );
  };
  return (
    <div className={s.row} data-op={row.op}>
      {cell('left')}
      <span className={s.sign} title={word}>
        {sign}
        <span className="sr">{word}</span>
      </span>
      {cell('right')}
    </div>
  );
}
