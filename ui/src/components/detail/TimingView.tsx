import type { Pair } from '../../api/types';
import { exactDuration, formatCount, formatDuration } from '../../lib/format';
import { isDecoded } from '../../lib/protocols';
import { quoteValue } from '../../lib/query';
import { Icon } from '../Icon';
import s from './Detail.module.css';
import { phasesOf, Waterfall } from './Waterfall';

const moments = [
  ['accepted', 'Connection accepted'],
  ['connected', 'Upstream connected'],
  ['request_first', 'Request, first byte'],
  ['request_last', 'Request, last byte'],
  ['response_first', 'Response, first byte'],
  ['response_last', 'Response, last byte'],
] as const;

export function TimingView({ pair, onFilter }: { pair: Pair; onFilter: (clause: string) => void }) {
  const { timing } = pair;
  const first = pair.seq === 0;
  const { idle } = phasesOf(timing, first);
  return (
    <>
      {isDecoded(pair.protocol) && (
        <div className={s.section}>
          <Waterfall timing={timing} first={first} />
        </div>
      )}
      <dl className={`${s.section} ${s.grid}`}>
        <dt>Time to first byte</dt>
        <dd title={exactDuration(pair.ttfb_ns)}>{formatDuration(pair.ttfb_ns)}</dd>
        <dt>Duration</dt>
        <dd title={exactDuration(pair.duration_ns)}>{formatDuration(pair.duration_ns)}</dd>
        <dt>Connection</dt>
        <dd>
          <span>
            {first ? 'This was the first exchange on it.' : `Open already: this was exchange ${formatCount(pair.seq + 1)} on it${idle == null ? '' : `, ${formatDuration(idle)} after it was accepted`}.`}
          </span>
          <button
            type="button"
            className="btn bare icon"
            onClick={() => onFilter(`pod:${quoteValue(pair.pod)} conn:${pair.conn}`)}
            aria-label="Show everything on this connection"
            title="Show everything on this connection"
          >
            <Icon name="filter" size={12} />
          </button>
        </dd>
      </dl>
      <dl className={`${s.section} ${s.grid}`}>
        {moments.map(([key, name]) => (
          <Moment key={key} name={name} time={timing[key]} />
        ))}
      </dl>
    </>
  );
}

function Moment({ name, time }: { name: string; time: string | null }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{time ?? <span className="muted">not seen</span>}</dd>
    </>
  );
}
