import { Fragment, useState, type ReactNode } from 'react';
import type { ForwarderState } from '../../api/types';
import { sum } from '../../lib/counts';
import { formatAgo, formatCount, formatDuration, formatMoment, formatSize, plural } from '../../lib/format';
import { usePrefs } from '../../lib/prefs';
import { dropLabel } from '../../lib/reasons';
import { parseMs } from '../../lib/time';
import { visibleText } from '../../lib/visible';
import { Icon } from '../Icon';
import t from '../Table.module.css';
import { State, Use } from './State';

const columns = 11;

export function ForwarderTable({ forwarders, now }: { forwarders: readonly ForwarderState[]; now: number }) {
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const toggle = (id: string) => {
    const next = new Set(open);
    if (!next.delete(id)) next.add(id);
    setOpen(next);
  };
  return (
    <div className={t.scroll}>
      <table className={t.table} aria-label="Forwarders">
        <thead>
          <tr>
            <th scope="col">state</th>
            <th scope="col">cluster</th>
            <th scope="col">id</th>
            <th scope="col">version</th>
            <th scope="col">last heard</th>
            <th scope="col">redaction</th>
            <th scope="col">filter</th>
            <th scope="col" className={t.number}>
              filtered
            </th>
            <th scope="col" className={t.number}>
              dropped
            </th>
            <th scope="col" className={t.number}>
              on the way
            </th>
            <th scope="col" className={t.number}>
              spool
            </th>
          </tr>
        </thead>
        <tbody>
          {forwarders.map((f) => (
            <ForwarderRows key={f.forwarder_id} forwarder={f} now={now} open={open.has(f.forwarder_id)} onToggle={() => toggle(f.forwarder_id)} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function ForwarderRows({ forwarder: f, now, open, onToggle }: { forwarder: ForwarderState; now: number; open: boolean; onToggle: () => void }) {
  const dropped = Object.entries(f.dropped).filter(([, n]) => n > 0);
  const total = sum(f.dropped);
  const stuck = f.destinations.filter((d) => d.error !== '');
  const followed = open || stuck.length > 0 || f.skewed;
  return (
    <>
      <tr className={followed ? t.followed : undefined} data-forwarder={f.forwarder_id}>
        <td>
          <button type="button" className={t.toggle} aria-expanded={open} aria-label={`${open ? 'Hide' : 'Show'} all of forwarder ${visibleText(f.cluster || f.forwarder_id)}`} onClick={onToggle}>
            <Icon name={open ? 'chevron' : 'chevron-right'} size={12} />
          </button>
          <State state={f.connected ? 'connected' : 'away'} />
        </td>
        <td>
          <b>{visibleText(f.cluster)}</b>
        </td>
        <td className="mono">{visibleText(f.forwarder_id)}</td>
        <td>{visibleText(f.version)}</td>
        <td title={f.last_seen}>{formatAgo(parseMs(f.last_seen), now)}</td>
        <td>
          {visibleText(f.dlp_config) || (
            <span className="tone-attention">
              <Icon name="shield" size={12} /> off
            </span>
          )}
        </td>
        <td title={visibleText(f.filter_rules.map((r) => `${r.name}: ${r.expression}`).join('\n'))}>{visibleText(f.filter_rule) || <span className="muted">none</span>}</td>
        <td className={t.number} title={Object.entries(f.filtered).map(([rule, n]) => `${formatCount(n)} ${rule}`).join(', ')}>
          {formatCount(sum(f.filtered))}
        </td>
        <td className={t.number} title={dropped.map(([reason, n]) => `${formatCount(n)} ${dropLabel({ hop: 'forwarder', reason })}`).join(', ')}>
          {total > 0 ? (
            <b className="tone-bad">
              <Icon name="cross" size={11} /> {formatCount(total)}
            </b>
          ) : (
            0
          )}
        </td>
        <td className={t.number} title="In the spool, and not yet with the analyzer">
          {formatSize(Math.max(0, f.spool.next_offset - f.spool.exported_offset))}
        </td>
        <td className={t.number}>
          <Use used={f.spool.bytes_used} limit={f.spool.bytes_limit} of="the spool’s limit" />
        </td>
      </tr>
      {(stuck.length > 0 || f.skewed) && (
        <tr className={open ? t.followed : undefined}>
          <td />
          <td colSpan={columns - 1} className={t.notes}>
            <div className={t.sight}>
              {f.skewed && (
                <p>
                  <span className="tone-attention">
                    <Icon name="clock" size={12} />
                  </span>
                  <span>
                    <b>
                      Clock {f.clock_skew_ns < 0 ? 'behind' : 'ahead'} by {formatDuration(Math.abs(f.clock_skew_ns))}:
                    </b>{' '}
                    <span className="muted">times of its proxies cannot be held against it. Synchronise the clock of that machine.</span>
                  </span>
                </p>
              )}
              {stuck.map((d) => (
                <p key={d.name}>
                  <span className="tone-bad">
                    <Icon name="plug" size={12} />
                  </span>
                  <span>
                    <b>{visibleText(d.name)}:</b> {visibleText(d.error)} <span className="muted">{formatSize(d.backlog_bytes)} wait.</span>
                  </span>
                </p>
              ))}
            </div>
          </td>
        </tr>
      )}
      {open && (
        <tr>
          <td />
          <td colSpan={columns - 1}>
            <div className={t.sight}>
              <Everything forwarder={f} now={now} />
            </div>
          </td>
        </tr>
      )}
    </>
  );
}

function Everything({ forwarder: f, now }: { forwarder: ForwarderState; now: number }) {
  const { zone } = usePrefs();
  const m = f.telemetry;
  const started = parseMs(f.started);
  const facts: [string, ReactNode][] = [
    ['Started', Number.isNaN(started) ? '–' : `${formatMoment(started, zone)} (${formatAgo(started, now)})`],
    ['Clock skew', formatDuration(f.clock_skew_ns)],
    ['Proxies show', f.proxies_unauthenticated ? 'nothing: PROXY_TOKENS_FILE and TLS_CLIENT_CA_FILE are not set' : 'a token or a certificate'],
    ['Spool', `${formatSize(f.spool.bytes_used)} of ${formatSize(f.spool.bytes_limit)}`],
    ['Sampling', Object.entries(f.sampling).map(([app, n]) => `${app === '*' ? 'all others' : visibleText(app)} 1/${formatCount(n)}`).join(', ') || 'left to the proxies'],
    ...f.destinations.map((d): [string, ReactNode] => [
      visibleText(d.name),
      `${d.connected ? 'connected' : 'not connected'}, ${backlogText(d)}${sum(d.dropped) > 0 ? `, ${Object.entries(d.dropped).map(([reason, n]) => `${formatCount(n)} dropped: ${reason.replaceAll('_', ' ')}`).join(', ')}` : ''}`,
    ]),
    ...f.filter_rules.map((r): [string, ReactNode] => [`Rule ${visibleText(r.name)}`, `${visibleText(r.expression)} (${plural(f.filtered[r.name] ?? 0, 'pair')} left out)`]),
    ...(m
      ? ([
          ['Rate', `${m.pairs_per_second.toFixed(1)} pairs/s, ${formatSize(Math.round(m.bytes_per_second))}/s`],
          ['Memory', `${formatSize(m.memory_resident)} resident, ${formatSize(m.memory_heap)} heap`],
          ['CPU time', formatDuration(m.cpu_time_ns)],
          ['Goroutines', formatCount(m.goroutines)],
          ['Open files', formatCount(m.open_files)],
          ['Proxies', `${plural(m.proxies_connected, 'proxy', 'proxies')} connected`],
          ['Measured', `${formatAgo(parseMs(m.at), now)}, over ${formatDuration(m.interval_ns)}`],
        ] satisfies [string, ReactNode][])
      : ([['Telemetry', 'off (TELEMETRY_INTERVAL and APP_POD_NAMESPACE)']] satisfies [string, ReactNode][])),
  ];
  return (
    <dl className={t.facts}>
      {facts.map(([name, value]) => (
        <Fragment key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </Fragment>
      ))}
    </dl>
  );
}

/** "all taken", "12 MB wait, done in 40 s", "12 MB wait and do not get less". */
export function backlogText({ backlog_bytes, backlog_eta_ns }: Pick<ForwarderState['destinations'][number], 'backlog_bytes' | 'backlog_eta_ns'>): string {
  if (backlog_bytes === 0) return 'all taken';
  const wait = `${formatSize(backlog_bytes)} wait`;
  return backlog_eta_ns === null ? `${wait} and do not get less` : `${wait}, done in ${formatDuration(backlog_eta_ns)}`;
}
