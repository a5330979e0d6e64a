import type { DifferenceRanking, DifferenceValue } from '../../api/types';
import { formatCount, formatShare, plural } from '../../lib/format';
import { visibleText } from '../../lib/visible';
import t from '../Table.module.css';
import { Value } from '../ValueMenu';
import s from './Ranking.module.css';

/** What the exchanges in a box have more often than the others, the greatest difference first. */
export function Ranking({ ranking }: { ranking: DifferenceRanking }) {
  const { inside, outside, values } = ranking;
  if (values.length === 0) {
    return (
      <p className={s.note}>
        {inside === 0
          ? 'Nothing is in the box.'
          : outside === 0
            ? 'Everything is in the box: there is nothing to compare it with.'
            : `Nothing sets the ${plural(inside, 'exchange')} in the box apart from the ${formatCount(outside)} others: no app, pod, host, method, endpoint, status, error, protocol, client, server or tag is more frequent than by chance.`}
      </p>
    );
  }
  return (
    <table className={t.table} aria-label="More frequent in the box, the greatest difference first">
      <thead>
        <tr>
          <th scope="col">field</th>
          <th scope="col">value</th>
          <th scope="col" className={t.number}>in the box</th>
          <th scope="col" className={t.number}>elsewhere</th>
          <th scope="col">shares</th>
        </tr>
      </thead>
      <tbody>
        {values.map((v) => (
          <Line key={v.query} v={v} />
        ))}
      </tbody>
    </table>
  );
}

function Line({ v }: { v: DifferenceValue }) {
  return (
    <tr data-value={v.query}>
      <td className="muted">{visibleText(v.field)}</td>
      <td className={s.value} title={visibleText(v.value)}>
        <Value value={v.value} clause={v.query} name={v.field} />
      </td>
      <td className={t.number} title={plural(v.inside, 'exchange')}>{formatShare(v.inside_share)}</td>
      <td className={t.number} title={plural(v.outside, 'exchange')}>{formatShare(v.outside_share)}</td>
      <td className={s.bars} aria-hidden="true">
        <i className={s.inside} style={{ width: `${v.inside_share * 100}%` }} />
        <i className={s.outside} style={{ width: `${v.outside_share * 100}%` }} />
      </td>
    </tr>
  );
}
