import type { Timing } from '../../api/types';
import { exactDuration, formatDuration } from '../../lib/format';
import { diffNs } from '../../lib/time';
import s from './Waterfall.module.css';

export interface Phase {
  name: string;
  means: string;
  /** Nanoseconds from the start of what is shown. */
  start: number;
  length: number;
  /** Why there is no length to tell; empty where there is. */
  note: string;
  kind: 'connect' | 'send' | 'wait' | 'receive';
}

export interface Phases {
  phases: Phase[];
  total: number;
  /** The connection was opened this long before the request, for an earlier exchange. */
  idle: number | null;
}

/**
 * The phases of an exchange, in order. Connecting belongs to it only where its
 * request was the first thing on the connection; later requests found it open.
 * A clock that was set back in between gives no negative length.
 */
export function phasesOf(timing: Timing, first: boolean): Phases {
  const { accepted, connected, request_first, request_last, response_first, response_last } = timing;
  const origin = first && accepted ? accepted : request_first;
  const phases: Phase[] = [];
  const add = (name: string, kind: Phase['kind'], from: string | null, to: string | null, means: string) => {
    const start = diffNs(origin, from);
    const length = diffNs(from, to);
    if (start == null || length == null) return;
    // One read is one moment: no time passed that anybody could have measured.
    const note = length < 0 ? 'not known' : length > 0 ? '' : kind === 'send' || kind === 'receive' ? 'in one piece' : 'at once';
    phases.push({ name, kind, means, note, start: Math.max(0, start), length: Math.max(0, length) });
  };
  if (first && accepted) {
    add('Connect upstream', 'connect', accepted, connected, 'from accepting the client to being connected to the upstream');
    const settled = (diffNs(connected, request_first) ?? -1) >= 0 ? connected : accepted;
    add('Wait for request', 'connect', settled, request_first, 'until the first byte of the request');
  }
  add('Send request', 'send', request_first, request_last, 'first to last byte of the request');
  const early = (diffNs(request_last, response_first) ?? 0) < 0;
  add('Wait for response', 'wait', early ? request_first : request_last, response_first, early ? 'first byte of the request to first byte of the response, which came before the request was whole' : 'last byte of the request to first byte of the response');
  add('Receive response', 'receive', response_first, response_last, 'first to last byte of the response');
  const total = phases.reduce((end, p) => Math.max(end, p.start + p.length), 0);
  return { phases, total, idle: first ? null : diffNs(accepted, request_first) };
}

/** In full, for hovering over it. */
function inWords({ means, note, length }: Phase): string {
  if (note === 'not known') return `${means}: not known, since the clock was set back in between`;
  return `${means}: ${note || exactDuration(length)}`;
}

/** Bars over a common time axis; slim: one line, in words on hover. */
export function Waterfall({ timing, first = false, slim = false }: { timing: Timing; first?: boolean; slim?: boolean }) {
  const { phases, total } = phasesOf(timing, first);
  const scale = total > 0 ? 100 / total : 0;
  if (slim) {
    return (
      <>
        <div className={s.slim} aria-hidden="true">
          {phases.map((p) => (
            <span key={p.name} className={s.bar} data-kind={p.kind} style={{ left: `${p.start * scale}%`, width: `${p.length * scale}%` }} />
          ))}
        </div>
        <p className={s.legend}>
          {phases.map((p) => (
            <span key={p.name} title={inWords(p)}>
              <i data-kind={p.kind} />
              {p.name} <b>{formatDuration(p.note ? null : p.length)}</b>
            </span>
          ))}
        </p>
      </>
    );
  }
  return (
    <table className={s.table}>
      <thead className="sr">
        <tr>
          <th>phase</th>
          <th>when</th>
          <th>length</th>
        </tr>
      </thead>
      <tbody>
        {phases.map((p) => (
          <tr key={p.name} title={inWords(p)}>
            <th scope="row">{p.name}</th>
            <td className={s.lane}>
              <span className={s.bar} data-kind={p.kind} style={{ left: `${p.start * scale}%`, width: `${p.length * scale}%` }} />
            </td>
            <td className={s.length}>{p.note ? <span className="muted">{p.note}</span> : formatDuration(p.length)}</td>
          </tr>
        ))}
        <tr className={s.total}>
          <th scope="row">Total</th>
          <td />
          <td className={s.length} title={exactDuration(total)}>
            {formatDuration(total || null)}
          </td>
        </tr>
      </tbody>
    </table>
  );
}
