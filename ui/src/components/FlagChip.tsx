import { flagInfo, sortFlags } from '../lib/flags';
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

/** The marks of a row: the worst in words, the others as shapes. */
export function RowFlags({ flags }: { flags: readonly string[] }) {
  if (flags.length === 0) return null;
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
      <FlagChip flag={worst as string} />
    </span>
  );
}
