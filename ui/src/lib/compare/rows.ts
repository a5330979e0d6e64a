export type DiffOp = 'same' | 'added' | 'removed' | 'changed' | 'ignored' | 'skip';

/** One row of a comparison, side by side. */
export interface DiffRow {
  op: DiffOp;
  depth: number;
  /** Null where that side has nothing here. */
  left: string | null;
  right: string | null;
  /** How many rows without a difference stand here, where op is "skip". */
  skipped?: number;
}

/** Rows on each side of a difference that are shown with it. */
const context = 3;
/** A page does not need more rows than somebody could read. */
export const mostRows = 20_000;

export interface DiffCounts {
  added: number;
  removed: number;
  changed: number;
  ignored: number;
}

export function countRows(rows: readonly DiffRow[]): DiffCounts {
  const counts: DiffCounts = { added: 0, removed: 0, changed: 0, ignored: 0 };
  for (const { op } of rows) if (op !== 'same' && op !== 'skip') counts[op]++;
  return counts;
}

/** Long runs without a difference as one row that says how long they are. */
export function collapse(rows: readonly DiffRow[]): DiffRow[] {
  const keep = new Uint8Array(rows.length);
  rows.forEach(({ op }, i) => {
    if (op === 'same') return;
    for (let k = Math.max(0, i - context); k <= Math.min(rows.length - 1, i + context); k++) keep[k] = 1;
  });
  const out: DiffRow[] = [];
  for (let i = 0; i < rows.length; ) {
    if (keep[i]) {
      out.push(rows[i] as DiffRow);
      i++;
      continue;
    }
    let end = i;
    while (end < rows.length && !keep[end]) end++;
    // One row says no more than the row itself.
    if (end - i <= 1) out.push(rows[i] as DiffRow);
    else out.push({ op: 'skip', depth: 0, left: null, right: null, skipped: end - i });
    i = end;
  }
  return out;
}
