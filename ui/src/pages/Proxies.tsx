import { useQuery } from '@tanstack/react-query';
import { Fragment, useState, type ReactNode } from 'react';
import { infoQuery, proxiesQuery } from '../api/queries';
import type { ForwarderState, ProxyState } from '../api/types';
import { Icon, type IconName } from '../components/Icon';
import { exactSize, formatAgo, formatCount, formatDuration, formatMoment, formatSize, plural } from '../lib/format';
import { upstreamHint } from '../lib/hints';
import { reasonText, sum } from '../lib/losses';
import { usePrefs } from '../lib/prefs';
import { protocolInfo } from '../lib/protocols';
import { parseMs } from '../lib/time';
import { useNow } from '../lib/use-now';
import { useTitle } from '../lib/use-title';
import s from './Proxies.module.css';

const states: Readonly<Record<string, { icon: IconName; tone: string; means: string }>> = {
  connected: { icon: 'dot', tone: 'tone-ok', means: 'Registered, and heard from within the last seconds.' },
  away: { icon: 'ring', tone: 'tone-attention', means: 'Registered, but not heard from for a while. After 45 s it is reaped.' },
  reaped: { icon: 'cross', tone: 'tone-bad', means: 'Not heard from for more than 45 s: it has died or lost its way to the forwarder.' },
  unknown: { icon: 'ring', tone: 'tone-attention', means: 'Its forwarder is not connected, so what it last said may not hold any more.' },
  stopped: { icon: 'dash', tone: 'muted', means: 'It said goodbye: stopped in order, everything shipped.' },
};

const columns = 11;

export function Proxies() {
  useTitle('Proxies · Weir');
  const { data, error, isError } = useQuery(proxiesQuery);
  const now = useNow(1000);
  const proxies = data?.proxies ?? [];
  const gone = proxies.filter((p) => p.state === 'reaped' || p.state === 'stopped');
  const here = proxies.filter((p) => !gone.includes(p));
  const forwarders = data?.forwarders ?? [];
  return (
    <main className={s.page}>
      <h1 className="sr">Proxies</h1>
      {!data && (isError ? <p className={s.note}>{error.message}</p> : <p className={`${s.note} muted late`}>Loading …</p>)}
      {data && (
        <>
          <Pipeline proxies={proxies} forwarders={forwarders} now={now} />
          <section aria-labelledby="proxies-here">
            <h2 id="proxies-here">Proxies</h2>
            {here.length > 0 ? (
              <ProxyTable proxies={here} now={now} label="Proxies" />
            ) : (
              <p className={s.note}>
                No proxy is registered. A proxy registers with its forwarder as soon as it starts; <code>FORWARDER_ADDR</code> says where that is.
              </p>
            )}
          </section>
          {gone.length > 0 && (
            <section aria-labelledby="proxies-gone">
              <h2 id="proxies-gone">No longer here</h2>
              <ProxyTable proxies={gone} now={now} label="Proxies that are no longer here" />
            </section>
          )}
          <section aria-labelledby="forwarders">
            <h2 id="forwarders">Forwarders</h2>
            {forwarders.some((f) => f.proxies_omitted > 0) && (
              <p className={s.note}>
                {plural(
                  forwarders.reduce((n, f) => n + f.proxies_omitted, 0),
                  'more proxy is',
                  'more proxies are',
                )}{' '}
                not listed: a forwarder reports a limited number.
              </p>
            )}
            {forwarders.length > 0 ? <ForwarderTable forwarders={forwarders} now={now} /> : <NoForwarder />}
          </section>
        </>
      )}
    </main>
  );
}

/** The way of a pair, with the state of each step. */
function Pipeline({ proxies, forwarders, now }: { proxies: readonly ProxyState[]; forwarders: readonly ForwarderState[]; now: number }) {
  const { data: info, isError } = useQuery(infoQuery);
  const { zone } = usePrefs();
  const connected = proxies.filter((p) => p.state === 'connected').length;
  const away = proxies.filter((p) => p.state === 'away').length;
  const up = forwarders.filter((f) => f.connected).length;
  const behind = forwarders.reduce((n, f) => n + Math.max(0, f.spool.next_offset - f.spool.exported_offset), 0);
  const oldest = parseMs(info?.oldest);
  return (
    <ol className={s.pipeline} aria-label="The way of a pair">
      <Step good={connected > 0 && away === 0} name={plural(connected, 'proxy', 'proxies')} fact={away > 0 ? `${away} away` : connected > 0 ? 'connected' : 'none connected'} />
      <Step
        good={up > 0 && up === forwarders.length}
        name={plural(up, 'forwarder')}
        fact={up === 0 ? 'none connected' : behind === 0 ? 'all exported' : `${formatSize(behind)} on the way`}
      />
      <Step
        good={!isError && info !== undefined}
        name={info ? `${plural(info.pairs, 'pair')} stored` : 'store'}
        fact={isError ? 'not answering' : Number.isNaN(oldest) ? 'empty' : `since ${formatMoment(oldest, zone).slice(0, 16)}, ${formatAgo(oldest, now)}`}
      />
      <Step good={!isError} name="you" fact={isError ? 'disconnected' : 'connected'} />
    </ol>
  );
}

function Step({ good, name, fact }: { good: boolean; name: string; fact: string }) {
  return (
    <li>
      <span className={good ? 'tone-ok' : 'tone-attention'}>
        <Icon name={good ? 'dot' : 'triangle'} size={12} />
      </span>
      <b>{name}</b>
      <span className="muted">{fact}</span>
    </li>
  );
}

function NoForwarder() {
  const { data: info } = useQuery(infoQuery);
  return (
    <p className={s.note}>
      No forwarder has connected since the analyzer started. {info && <>Set <code>ANALYZER_ADDR={info.ingest_addr}</code> for it.</>}
    </p>
  );
}

function State({ state }: { state: string }) {
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

function ProxyTable({ proxies, now, label }: { proxies: readonly ProxyState[]; now: number; label: string }) {
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const toggle = (id: string) => {
    const next = new Set(open);
    if (!next.delete(id)) next.add(id);
    setOpen(next);
  };
  return (
    <div className={s.scroll}>
      <table className={s.table} aria-label={label}>
        <thead>
          <tr>
            <th scope="col">state</th>
            <th scope="col">app</th>
            <th scope="col">pod</th>
            <th scope="col">listen → upstream</th>
            <th scope="col">last heard</th>
            <th scope="col" className={s.number}>
              open conns
            </th>
            <th scope="col">protocols</th>
            <th scope="col" className={s.number}>
              seen
            </th>
            <th scope="col" className={s.number}>
              acknowledged
            </th>
            <th scope="col" className={s.number}>
              dropped
            </th>
            <th scope="col" className={s.number}>
              memory
            </th>
          </tr>
        </thead>
        <tbody>
          {proxies.map((p) => {
            const id = `${p.proxy_id} ${p.epoch}`;
            return <ProxyRows key={id} proxy={p} now={now} open={open.has(id)} onToggle={() => toggle(id)} />;
          })}
        </tbody>
      </table>
    </div>
  );
}

function ProxyRows({ proxy: p, now, open, onToggle }: { proxy: ProxyState; now: number; open: boolean; onToggle: () => void }) {
  const c = p.counters;
  const dropped = sum(c.dropped);
  const protocols = Object.entries(p.protocols).toSorted((a, b) => b[1] - a[1]);
  const notes = notesOf(p);
  return (
    <>
      <tr className={notes.length > 0 || open ? s.followed : undefined} data-proxy={p.proxy_id}>
        <td>
          <button type="button" className={s.toggle} aria-expanded={open} aria-label={`${open ? 'Hide' : 'Show'} all of ${p.pod || p.proxy_id}`} onClick={onToggle}>
            <Icon name={open ? 'chevron' : 'chevron-right'} size={12} />
          </button>
          <State state={p.state} />
        </td>
        <td>
          <b>{p.app}</b>
        </td>
        <td className="mono" title={[p.namespace, p.cluster].filter(Boolean).join(' · ')}>
          {p.pod || p.proxy_id}
          {p.namespace && <span className={`${s.namespace} muted`}> {p.namespace}</span>}
        </td>
        <td className="mono">
          {p.listen_addr} → {p.upstream_addr}
        </td>
        <td title={p.last_seen ?? undefined}>{formatAgo(parseMs(p.last_seen), now)}</td>
        <td className={s.number}>{formatCount(p.open_conns)}</td>
        <td className={s.protocols} title={protocols.map(([name, n]) => `${protocolInfo(name).title} ${formatCount(n)}`).join(', ')}>
          {protocols.length > 0 ? protocols.map(([name]) => protocolInfo(name).title).join(', ') : <span className="muted">none yet</span>}
        </td>
        <td className={s.number}>{formatCount(c.seen)}</td>
        <td className={s.number}>{formatCount(c.acked)}</td>
        <td className={s.number}>
          {dropped > 0 ? (
            <b className="tone-bad">
              <Icon name="cross" size={11} /> {formatCount(dropped)}
            </b>
          ) : (
            0
          )}
        </td>
        <td className={s.number}>
          <Memory used={p.memory_used} limit={p.memory_limit} />
        </td>
      </tr>
      {notes.length > 0 && (
        <tr className={open ? s.followed : undefined}>
          <td />
          <td colSpan={columns - 1} className={s.notes}>
            {notes.map((n) => (
              <p key={n.key}>
                <span className={n.tone}>
                  <Icon name={n.icon} size={12} />
                </span>
                <span>{n.text}</span>
              </p>
            ))}
          </td>
        </tr>
      )}
      {open && (
        <tr>
          <td />
          <td colSpan={columns - 1}>
            <Everything proxy={p} now={now} />
          </td>
        </tr>
      )}
    </>
  );
}

interface Note {
  key: string;
  icon: IconName;
  tone: string;
  text: ReactNode;
}

/** What needs attention, each with its reason and the next step. */
function notesOf(p: ProxyState): Note[] {
  const out: Note[] = [];
  if (p.upstream_error) {
    out.push({
      key: 'upstream',
      icon: 'plug',
      tone: 'tone-bad',
      text: (
        <>
          <b>Upstream:</b> <code>{p.upstream_error}</code> <span className="muted">{upstreamHint(p.upstream_error, p.upstream_addr)}</span>
        </>
      ),
    });
  }
  const reasons = Object.entries(p.counters.dropped).filter(([, n]) => n > 0);
  if (reasons.length > 0) {
    out.push({
      key: 'dropped',
      icon: 'cross',
      tone: 'tone-bad',
      text: (
        <>
          <b>Dropped:</b> {reasons.map(([reason, n]) => `${formatCount(n)} ${reasonText(reason)}`).join(', ')}
        </>
      ),
    });
  }
  if (p.skewed) {
    out.push({
      key: 'skew',
      icon: 'clock',
      tone: 'tone-attention',
      text: (
        <>
          <b>Clock {p.clock_skew_ns < 0 ? 'behind' : 'ahead'} by {formatDuration(Math.abs(p.clock_skew_ns))}:</b> <span className="muted">its pairs stand at the wrong place in time. Synchronise the clock of that machine.</span>
        </>
      ),
    });
  }
  if (p.duplicate_id) {
    out.push({
      key: 'duplicate',
      icon: 'fork',
      tone: 'tone-attention',
      text: (
        <>
          <b>Two processes use this id:</b> <span className="muted">give each instance an APP_POD_NAME of its own.</span>
        </>
      ),
    });
  }
  if (!p.capture_on) {
    out.push({ key: 'capture', icon: 'pause', tone: 'tone-attention', text: <><b>Capture is off:</b> <span className="muted">traffic is carried, nothing is recorded.</span></> });
  }
  return out;
}

function Memory({ used, limit }: { used: number; limit: number }) {
  const share = limit > 0 ? used / limit : 0;
  return (
    <span className={s.memory} title={`${exactSize(used)} of ${exactSize(limit)}`}>
      <span className={share > 0.8 ? 'tone-attention' : undefined}>
        {share > 0.8 && <Icon name="triangle" size={11} />} {formatSize(used)}
      </span>
      <meter className={s.meter} min={0} max={1} value={share} aria-label={`${Math.round(share * 100)} % of the memory limit`} />
    </span>
  );
}

function Everything({ proxy: p, now }: { proxy: ProxyState; now: number }) {
  const { zone } = usePrefs();
  const c = p.counters;
  const started = parseMs(p.epoch_started);
  const facts: [string, ReactNode][] = [
    ['Version', p.version],
    ['Proxy id', p.proxy_id],
    ['Cluster', p.cluster || '–'],
    ['Forwarder', p.forwarder_id],
    ['Started', `${formatMoment(started, zone)} (${formatAgo(started, now)})`],
    ['Registered', formatMoment(parseMs(p.registered), zone)],
    ['Clock skew', formatDuration(p.clock_skew_ns)],
    ['Connections', `${formatCount(c.conns_accepted)} accepted, ${formatCount(c.conns_failed)} failed`],
    ['To the server', formatSize(c.bytes_client_to_server)],
    ['To the client', formatSize(c.bytes_server_to_client)],
    ['In batches', formatCount(c.batched)],
    ['Sampled out', formatCount(c.sampled)],
    ['Bodies not kept', formatCount(c.bodies_shed)],
    ['Memory limit', formatSize(p.memory_limit)],
    ['By protocol', Object.entries(p.protocols).map(([name, n]) => `${protocolInfo(name).title} ${formatCount(n)}`).join(', ') || '–'],
  ];
  return (
    <dl className={s.facts}>
      {facts.map(([name, value]) => (
        <Fragment key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </Fragment>
      ))}
    </dl>
  );
}

function ForwarderTable({ forwarders, now }: { forwarders: readonly ForwarderState[]; now: number }) {
  return (
    <div className={s.scroll}>
      <table className={s.table} aria-label="Forwarders">
        <thead>
          <tr>
            <th scope="col">state</th>
            <th scope="col">cluster</th>
            <th scope="col">id</th>
            <th scope="col">version</th>
            <th scope="col">last heard</th>
            <th scope="col">redaction</th>
            <th scope="col">filter</th>
            <th scope="col" className={s.number}>
              filtered
            </th>
            <th scope="col" className={s.number}>
              dropped
            </th>
            <th scope="col" className={s.number}>
              on the way
            </th>
            <th scope="col" className={s.number}>
              spool
            </th>
          </tr>
        </thead>
        <tbody>
          {forwarders.map((f) => {
            const dropped = Object.entries(f.dropped).filter(([, n]) => n > 0);
            const total = sum(f.dropped);
            return (
              <tr key={f.forwarder_id}>
                <td>
                  <State state={f.connected ? 'connected' : 'away'} />
                </td>
                <td>
                  <b>{f.cluster}</b>
                </td>
                <td className="mono">{f.forwarder_id}</td>
                <td>{f.version}</td>
                <td title={f.last_seen}>{formatAgo(parseMs(f.last_seen), now)}</td>
                <td>
                  {f.dlp_config || (
                    <span className="tone-attention">
                      <Icon name="shield" size={12} /> off
                    </span>
                  )}
                </td>
                <td>{f.filter_rule || <span className="muted">none</span>}</td>
                <td className={s.number} title={Object.entries(f.filtered).map(([rule, n]) => `${formatCount(n)} ${reasonText(rule)}`).join(', ')}>
                  {formatCount(sum(f.filtered))}
                </td>
                <td className={s.number} title={dropped.map(([reason, n]) => `${formatCount(n)} ${reasonText(reason)}`).join(', ')}>
                  {total > 0 ? (
                    <b className="tone-bad">
                      <Icon name="cross" size={11} /> {formatCount(total)}
                    </b>
                  ) : (
                    0
                  )}
                </td>
                <td className={s.number} title="In the spool, and not yet with the analyzer">
                  {formatSize(Math.max(0, f.spool.next_offset - f.spool.exported_offset))}
                </td>
                <td className={s.number}><Memory used={f.spool.bytes_used} limit={f.spool.bytes_limit} /></td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
