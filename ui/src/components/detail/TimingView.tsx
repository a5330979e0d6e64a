import type { Pair } from '../../api/types';
import { exactDuration, formatCount, formatDuration } from '../../lib/format';
import { isDecoded } from '../../lib/protocols';
import type { DetailTab } from '../../lib/search';
import { diffNs } from '../../lib/time';
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

/** From the response's last byte (the request's, where there is none) to the pair being durable here. */
function captureLag(pair: Pair): number | null {
  return diffNs(pair.timing.response_last ?? pair.timing.request_last, pair.stored_at);
}

export function TimingView({ pair, onTab }: { pair: Pair; onTab: (tab: DetailTab) => void }) {
  const { timing } = pair;
  const first = pair.seq === 0;
  const lag = captureLag(pair);
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
          <button type="button" className="btn bare" onClick={() => onTab('connection')}>
            Show the connection
          </button>
        </dd>
        <dt>Capture</dt>
        <dd title={exactDuration(lag)}>
          <span>
            {lag === null || lag < 0 ? 'not known' : formatDuration(lag)}{' '}
            <span className="muted">from the last byte to stored here. The exchange itself did not wait: bytes are copied after they were passed on.</span>
          </span>
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
