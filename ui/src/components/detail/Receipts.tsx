import type { Redaction } from '../../api/types';
import { formatCount, plural } from '../../lib/format';
import { receiptOf, type Receipt, type ReceiptKind } from '../../lib/receipts';
import { visibleText } from '../../lib/visible';
import { Icon, type IconName } from '../Icon';
import d from './Detail.module.css';
import s from './Receipts.module.css';

const looks: Readonly<Record<ReceiptKind, { icon: IconName; word: string }>> = {
  changed: { icon: 'shield', word: 'redacted' },
  withheld: { icon: 'eye-off', word: 'withheld' },
  shadow: { icon: 'info', word: 'in shadow' },
  more: { icon: 'more', word: 'and more' },
};

/** What was taken out of a pair, by which rule, where and how often; never what it was. */
export function Receipts({ redactions }: { redactions: readonly Redaction[] }) {
  if (redactions.length === 0) return null;
  const receipts = redactions.map(receiptOf);
  const values = receipts.filter((r) => r.kind === 'changed' || r.kind === 'more').reduce((n, r) => n + r.count, 0);
  return (
    <section className={d.section} aria-label="Redactions">
      <h3>Redactions</h3>
      <p className={`${s.lead} muted`}>
        {values > 0 && `${plural(values, 'value was', 'values were')} replaced in the forwarder, before anything of this pair was written to a disk. `}
        A receipt says what rule acted where. The value itself is nowhere in Weir; REDACTED-… is the same for the same value, so pairs still join by it.
      </p>
      <table className={s.receipts} aria-label="Receipts">
        <thead>
          <tr>
            <th scope="col">what</th>
            <th scope="col">where</th>
            <th scope="col">type</th>
            <th scope="col">rule</th>
            <th scope="col" className={s.count}>
              times
            </th>
          </tr>
        </thead>
        <tbody>
          {receipts.map((r, i) => (
            // A rule may have acted twice on a place; the order is the forwarder's.
            // oxlint-disable-next-line react/no-array-index-key
            <Row key={i} receipt={r} />
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Row({ receipt: r }: { receipt: Receipt }) {
  const { icon, word } = looks[r.kind];
  const reason = r.kind !== 'changed';
  return (
    <tr data-receipt={r.kind}>
      <td title={r.means}>
        <span className="tone-private">
          <Icon name={icon} size={12} />
        </span>{' '}
        {word}
      </td>
      <td className="mono">
        {r.side && <span className="muted">{r.side} </span>}
        {visibleText(r.place)}
      </td>
      {reason ? (
        <td colSpan={r.kind === 'shadow' ? 1 : 2} className={s.means}>
          {r.kind === 'shadow' ? `${visibleText(r.type)}: ` : ''}
          {visibleText(r.means)}
        </td>
      ) : (
        <td className="mono">{visibleText(r.type)}</td>
      )}
      {(!reason || r.kind === 'shadow') && <td className="mono">{visibleText(r.rule)}</td>}
      <td className={s.count}>{formatCount(r.count)}</td>
    </tr>
  );
}
