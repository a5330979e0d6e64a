import { Fragment } from 'react';
import type { LedgerCounts } from '../api/types';
import { formatCount, plural } from '../lib/format';
import { difference, equationText, placeInfo, termsOf, type Place } from '../lib/ledger';
import s from './Equation.module.css';
import { Icon, type IconName } from './Icon';

/** How a term looks where it is not 0: only what needs attention has a colour, and then a shape. */
const marks: Readonly<Partial<Record<Place, { icon: IconName; tone: string }>>> = {
  dropped: { icon: 'cross', tone: 'tone-bad' },
  unknown: { icon: 'triangle', tone: 'tone-attention' },
  unaccounted: { icon: 'cross', tone: 'tone-bad' },
};

export function PlaceCount({ place, pairs }: { place: Place; pairs: number }) {
  const mark = pairs > 0 ? marks[place] : undefined;
  const text = `${place === 'unknown' && pairs > 0 ? '≤ ' : ''}${formatCount(pairs)}`;
  if (!mark) return <span className={pairs === 0 ? 'muted' : undefined}>{text}</span>;
  return (
    <b className={mark.tone}>
      <Icon name={mark.icon} size={11} /> {text}
    </b>
  );
}

/** The sum, so that it can be read: what was seen is what became of it. Why pairs were dropped is not in it: that needs more words. */
export function Equation({ counts }: { counts: LedgerCounts }) {
  const off = difference(counts);
  return (
    <>
      <p className="sr">{equationText(counts)}</p>
      <div className={s.equation} aria-hidden="true" data-testid="equation">
        <div className={s.term} title={placeInfo.seen.means} data-place="seen">
          <span className={s.value}>{formatCount(counts.seen)}</span>
          <span className={s.label}>seen</span>
        </div>
        {termsOf(counts).map(({ place, pairs, parts }, i) => (
          <Fragment key={place}>
            <span className={s.sign}>{i === 0 ? '=' : '+'}</span>
            <div className={s.term} title={placeInfo[place].means} data-place={place}>
              <span className={s.value}>
                <PlaceCount place={place} pairs={pairs} />
              </span>
              <span className={s.label}>{placeInfo[place].label}</span>
              {(place === 'dropped' ? [] : parts).map((part) => (
                <span key={part.label} className={s.part}>
                  {formatCount(part.pairs)} {part.label}
                </span>
              ))}
            </div>
          </Fragment>
        ))}
      </div>
      {off !== 0 && (
        <p className={s.off}>
          <span className="tone-attention">
            <Icon name="triangle" size={12} />
          </span>{' '}
          {off < 0
            ? `The right side is ${plural(-off, 'pair')} ahead: proxies have not yet reported all that is stored.`
            : `The right side is ${plural(off, 'pair')} short: reports are on their way.`}
        </p>
      )}
    </>
  );
}
