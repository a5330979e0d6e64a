import { exactSize, formatSize } from '../../lib/format';
import { Icon, type IconName } from '../Icon';
import s from './State.module.css';

const states: Readonly<Record<string, { icon: IconName; tone: string; means: string }>> = {
  connected: { icon: 'dot', tone: 'tone-ok', means: 'Registered, and heard from within the last seconds.' },
  away: { icon: 'ring', tone: 'tone-attention', means: 'Registered, but not heard from for a while. After 45 s it is reaped.' },
  reaped: { icon: 'cross', tone: 'tone-bad', means: 'Not heard from for more than 45 s: it has died or lost its way to the forwarder.' },
  unknown: { icon: 'ring', tone: 'tone-attention', means: 'Its forwarder is not connected, so what it last said may not hold any more.' },
  stopped: { icon: 'dash', tone: 'muted', means: 'It said goodbye: stopped in order, everything shipped.' },
};

/** The state of a proxy or a forwarder: a shape, a word, and a sentence on hover. */
export function State({ state }: { state: string }) {
  const known = states[state] ?? { icon: 'info' as const, tone: 'muted', means: '' };
  return (
    <span className={s.state} title={known.means}>
      <span className={known.tone}>
        <Icon name={known.icon} size={12} />
      </span>
      {state}
    </span>
  );
}

/** Nearly full: not yet a loss, but the next thing to be one. */
export const nearlyFull = 0.8;

/** How much of a limit is used; `of` finishes "80 % of …". */
export function Use({ used, limit, of, label }: { used: number; limit: number; of: string; label?: string }) {
  const share = limit > 0 ? used / limit : 0;
  return (
    <span className={s.use} title={`${exactSize(used)} of ${exactSize(limit)}`}>
      {label && <span className="muted">{label}</span>}
      <span className={share > nearlyFull ? 'tone-attention' : undefined}>
        {share > nearlyFull && <Icon name="triangle" size={11} />} {formatSize(used)}
      </span>
      <meter className={s.meter} min={0} max={1} value={share} aria-label={`${Math.round(share * 100)} % of ${of}`} />
    </span>
  );
}
