import { reasons, toneOf, type Tone } from '../lib/status';
import { visibleText } from '../lib/visible';
import { Icon, type IconName } from './Icon';
import s from './Status.module.css';

const icons: Readonly<Record<Tone, IconName>> = {
  ok: 'dot',
  redirect: 'arrow',
  attention: 'triangle',
  bad: 'cross',
  private: 'shield',
  plain: 'dash',
};

/** A status: the number, its colour, and a shape that says the same. */
export function Status({ status, flags, error }: { status: number | null; flags: readonly string[]; error: string }) {
  const tone = toneOf(status, flags);
  const has = status != null && status > 0;
  const title = has ? `${status} ${reasons[status] ?? ''}`.trim() : visibleText(error) || 'No status';
  return (
    <span className={`${s.status} tone-${tone}`} title={title}>
      {(has || tone === 'bad') && <Icon name={icons[tone]} size={tone === 'ok' ? 12 : 11} />}
      <span>{has ? status : tone === 'bad' ? 'none' : '–'}</span>
    </span>
  );
}
