import type { HeatmapCounts } from '../../api/types';
import { formatCount, formatShare } from '../../lib/format';
import { boxOf, durationsText, stretches, type Box } from '../../lib/heatmap';
import t from '../Table.module.css';
import s from './Summary.module.css';

/** What the picture shows, in numbers: exchanges by power of ten, each a box to select. */
export function Summary({ counts, box, onBox }: { counts: HeatmapCounts; box: Box | null; onBox: (box: Box | null) => void }) {
  const all = counts.pairs - counts.absent;
  return (
    <table className={`${t.table} ${s.table}`} aria-label="Exchanges by duration">
      <thead>
        <tr>
          <th scope="col">duration</th>
          <th scope="col" className={t.number}>exchanges</th>
          <th scope="col" className={t.number}>share</th>
        </tr>
      </thead>
      <tbody>
        {stretches(counts).map(({ low, high, min, max, pairs }) => {
          const whole = boxOf(counts, { left: 0, right: counts.columns.length - 1, low, high });
          const on = box !== null && box.min === min && box.max === max;
          return (
            <tr key={low} data-on={on || undefined}>
              <td>
                <button type="button" className={s.select} aria-pressed={on} onClick={() => onBox(on ? null : whole)} title="Select these durations, in all of the time">
                  {durationsText({ min, max })}
                </button>
              </td>
              <td className={t.number}>{formatCount(pairs)}</td>
              <td className={t.number}>{formatShare(pairs / all)}</td>
            </tr>
          );
        })}
        {counts.absent > 0 && (
          <tr>
            <td className="muted" title="No whole answer, or its times were not seen">without a duration</td>
            <td className={t.number}>{formatCount(counts.absent)}</td>
            <td />
          </tr>
        )}
      </tbody>
    </table>
  );
}
