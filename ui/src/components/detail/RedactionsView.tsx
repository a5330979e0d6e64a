import type { Pair } from '../../api/types';
import { Icon } from '../Icon';
import s from './Detail.module.css';
import { Receipts } from './Receipts';

/** What was taken out of the pair; that it cannot be had back is said, not hidden. */
export function RedactionsView({ pair }: { pair: Pair }) {
  return (
    <>
      {pair.redactions.length === 0 && (
        <p className={s.note}>No rule took anything out of this exchange: it is stored as it was captured.</p>
      )}
      <Receipts redactions={pair.redactions} />
      {pair.redactions.length > 0 && (
        <p className={`${s.section} ${s.flag}`}>
          <span className="tone-private">
            <Icon name="lock" />
          </span>
          <span className={s.lead}>
            <b>Unmasking is impossible.</b>{' '}
            <span className="muted">
              The forwarder replaced the values in memory and wrote down only what you see here. No role, key, export or backup of Weir has them. To see what a value was, look where it came from: the application.
            </span>
          </span>
        </p>
      )}
    </>
  );
}
