import { flagInfo, sortFlags } from '../lib/flags';
import { formatCount } from '../lib/format';
import s from './FlagChip.module.css';
import { Icon } from './Icon';

/** One mark of a pair: a shape, a word, and a sentence on hover. */
export function FlagChip({ flag }: { flag: string }) {
  const info = flagInfo(flag);
  return (
    <span className={s.chip} title={info.means} data-flag={flag}>
      <span className={`${s.icon} tone-${info.tone}`}>
        <Icon name={info.icon} size={12} />
      </span>
      {info.label}
    </span>
  );
}

/** A pair that was kept by sampling stands for others like it: says for how many. */
export function WeightChip({ weight }: { weight: number }) {
  if (!(weight > 1)) return null;
  return (
    <span className={s.chip} title={weightMeans(weight)} data-weight={weight}>
      <span className={`${s.icon} tone-redirect`}>
        <Icon name="tilde" size={12} />
      </span>
      <span>
        <span className={s.words}>stands for </span>
        {formatCount(weight)}
      </span>
    </span>
  );
}

export function weightMeans(weight: number): string {
  return `Kept by sampling: its proxy keeps one connection in ${formatCount(weight)}, so this pair stands for about ${formatCount(weight)} like it.`;
}

/** The marks of a row: the worst in words, the others as shapes; and for how many pairs it stands. */
export function RowFlags({ flags, weight }: { flags: readonly string[]; weight: number }) {
  if (flags.length === 0 && weight <= 1) return null;
  const sorted = sortFlags(flags);
  const [worst, ...others] = sorted;
  return (
    <span className={s.row}>
      {others.map((flag) => {
        const info = flagInfo(flag);
        return (
          <span key={flag} className={`${s.icon} tone-${info.tone}`} title={`${info.label}: ${info.means}`}>
            <Icon name={info.icon} size={12} label={info.label} />
          </span>
        );
      })}
      {worst !== undefined && <FlagChip flag={worst} />}
      <WeightChip weight={weight} />
    </span>
  );
}
